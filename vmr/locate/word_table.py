"""The word vectors inside an exported model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from vmr.errors import QueryError
from vmr.queries.glove import open_vectors, read_vectors, vector_dimension
from vmr.queries.tokenize import tokenize


@dataclass(frozen=True)
class Sentence:
    """A sentence for the network."""

    words: list[str]
    vectors: Float32[np.ndarray, "L E"]  # one row a word; zeros for unknown words
    unknown: list[bool]  # True where a word has no vector
    left_out: list[str]  # words beyond the limit of the network

    @property
    def unknown_words(self) -> list[str]:
        """Words without a vector; the network only sees that there is a word."""
        return [word for word, is_unknown in zip(self.words, self.unknown, strict=True) if is_unknown]


class WordTable:
    """Words and their vectors, and the rule that splits a sentence into words."""

    def __init__(self, words: Sequence[str], vectors: Float32[np.ndarray, "W E"], *, max_words: int) -> None:
        self.words, self.vectors, self.max_words = list(words), vectors, max_words
        self._row = {word: row for row, word in enumerate(self.words)}

    def sentence(self, text: str) -> Sentence:
        """Words of a sentence and their vectors.

        Raises:
            QueryError: the sentence has no words, or none that is known.
        """
        words = tokenize(text)
        if not words:
            raise QueryError(f"the query {text!r} has no words. Describe in a sentence what you look for.")
        left_out, words = words[self.max_words :], words[: self.max_words]
        rows = [self._row.get(word) for word in words]
        if not any(row is not None and any(map(str.isalnum, word)) for row, word in zip(rows, words, strict=True)):
            raise QueryError(
                f"no word of the query {text!r} is known to this model. Ask in the language of its word vectors "
                "(English, unless it was trained with others)."
            )
        vectors = np.zeros((len(words), self.vectors.shape[1]), dtype=np.float32)
        for place, row in enumerate(rows):
            if row is not None:
                vectors[place] = self.vectors[row]
        return Sentence(words, vectors, [row is None for row in rows], left_out)


def read_word_table(path: Path, *, most: int, max_words: int) -> WordTable:
    """The first words of a file of vectors (GloVe's are in the order of their frequency).

    Raises:
        QueryError: the file is missing, damaged, or not of this format.
    """
    dimension = vector_dimension(path)
    words: dict[str, None] = {}
    # The file is read once for its words and once for their vectors, so that one reader decides what a line means.
    with open_vectors(path) as lines:
        for line in lines:
            fields = line.rstrip().rsplit(b" ", dimension)
            if len(fields) == dimension + 1 and b" " not in fields[0]:
                words.setdefault(fields[0].decode("utf-8", errors="replace"))
            if len(words) == most:
                break
    found = read_vectors(path, words)
    known = [word for word in words if word in found and "\n" not in word]
    return WordTable(known, np.stack([found[word] for word in known]), max_words=max_words)
