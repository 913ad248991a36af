"""The word vectors inside an exported model."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from vmr.errors import QueryError
from vmr.queries.glove import is_encoder, open_vectors, read_vectors, vector_dimension
from vmr.queries.sentence_encoder import WIDTH, SentenceEncoder
from vmr.queries.tokenize import tokenize

# Tensors of an exported model.
_TEXT, _VECTORS = "text", "vectors"
_TOKENIZER, _ENCODER = "tokenizer", "encoder/"


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


class Words(ABC):
    """The rule that splits a sentence into words, and the words' vectors."""

    def __init__(self, *, dim: int, max_words: int) -> None:
        self.dim, self.max_words = dim, max_words

    @abstractmethod
    def look_up(self, words: list[str]) -> tuple[Float32[np.ndarray, "L E"], list[bool]]:
        """One row for each of a sentence's words, and whether the word is unknown."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What an exported model holds of it."""

    def sentence(self, text: str) -> Sentence:
        """Words of a sentence and their vectors.

        Raises:
            QueryError: the sentence has no words, or none that is known.
        """
        words = tokenize(text)
        if not any(map(str.isalnum, "".join(words))):
            raise QueryError(f"the query {text!r} has no words. Describe in a sentence what you look for.")
        left_out, words = words[self.max_words :], words[: self.max_words]
        vectors, unknown = self.look_up(words)
        if not any(not is_new and any(map(str.isalnum, word)) for word, is_new in zip(words, unknown, strict=True)):
            raise QueryError(
                f"no word of the query {text!r} is known to this model. Ask in the language of its word vectors "
                "(English, unless it was trained with others)."
            )
        return Sentence(words, vectors, unknown, left_out)


class WordTable(Words):
    """Words with one vector each."""

    def __init__(self, words: Sequence[str], vectors: Float32[np.ndarray, "W E"], *, max_words: int) -> None:
        super().__init__(dim=vectors.shape[1], max_words=max_words)
        self.words, self.vectors = list(words), vectors
        self._row = {word: row for row, word in enumerate(self.words)}

    def look_up(self, words: list[str]) -> tuple[Float32[np.ndarray, "L E"], list[bool]]:
        """See `Words.look_up`."""
        rows = [self._row.get(word) for word in words]
        vectors = np.zeros((len(words), self.dim), dtype=np.float32)
        for place, row in enumerate(rows):
            if row is not None:
                vectors[place] = self.vectors[row]
        return vectors, [row is None for row in rows]

    def tensors(self) -> dict[str, Tensor]:
        """See `Words.tensors`."""
        return {_TEXT: as_bytes("\n".join(self.words)), _VECTORS: torch.from_numpy(self.vectors)}


class WordEncoder(Words):
    """Words whose vectors depend on their sentence."""

    def __init__(self, encoder: SentenceEncoder, *, max_words: int) -> None:
        super().__init__(dim=WIDTH, max_words=max_words)
        self._encoder = encoder

    def look_up(self, words: list[str]) -> tuple[Float32[np.ndarray, "L E"], list[bool]]:
        """See `Words.look_up`."""
        return self._encoder.words([words])[0]

    def tensors(self) -> dict[str, Tensor]:
        """See `Words.tensors`."""
        weights = {f"{_ENCODER}{name}": value for name, value in self._encoder.weights.items()}
        return {_TOKENIZER: as_bytes(self._encoder.tokenizer), **weights}


def words_of(tensors: Mapping[str, Tensor], *, max_words: int) -> Words:
    """What `Words.tensors` gave.

    Raises:
        KeyError: a tensor is missing.
        ValueError: they do not fit each other.
    """
    if _TOKENIZER in tensors:
        weights = {name.removeprefix(_ENCODER): value for name, value in tensors.items() if name.startswith(_ENCODER)}
        return WordEncoder(SentenceEncoder(weights, _text(tensors[_TOKENIZER])), max_words=max_words)
    words, vectors = _text(tensors[_TEXT]).split("\n"), tensors[_VECTORS].numpy()
    if len(words) != len(vectors):
        raise ValueError(f"{len(words)} words, {len(vectors)} vectors")
    return WordTable(words, vectors, max_words=max_words)


def as_bytes(content: str | bytes) -> Tensor:
    """Bytes as a tensor; those of a text are UTF-8."""
    return torch.frombuffer(bytearray(content.encode() if isinstance(content, str) else content), dtype=torch.uint8)


def _text(tensor: Tensor) -> str:
    return bytes(tensor.numpy()).decode("utf-8")


def read_words(path: Path, *, most: int, max_words: int) -> Words:
    """The words of a file that sentences were embedded by; of a table `most`, from its beginning (GloVe's are in the
    order of their frequency).

    Raises:
        QueryError: the file is missing, damaged, or not of its format.
    """
    if is_encoder(path):
        return WordEncoder(SentenceEncoder.read(path), max_words=max_words)
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
