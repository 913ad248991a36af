"""What a sentence says, as directions: a fixed random one for each content word, shared by its inflections."""

import functools
import hashlib

import numpy as np
from jaxtyping import Float64

from vmr.queries.tokenize import tokenize

_ENDINGS = ("ing", "ed", "es", "s")
_SHORTEST_ROOT = 3


def content_words(sentence: str) -> list[str]:
    """Roots of the words of a sentence that can be seen in its moment, each once; of all its words where there are no
    such.

    Left out are stop words of spaCy and punctuation. The word `person` stays, which most sentences of Charades-STA
    have: it marks moments without telling them apart, as movement does in real videos.

    >>> content_words("A person opens the door, then another door.")
    ['person', 'open', 'door']
    >>> content_words("It is what it is.")
    ['it', 'is', 'what']
    """
    from spacy.lang.en.stop_words import STOP_WORDS

    words = [word for word in tokenize(sentence) if word.isalpha()]
    seen = [word for word in words if word not in STOP_WORDS]
    return list(dict.fromkeys(map(root, seen or words)))


def root(word: str) -> str:
    """A word without its English ending, cut so that most inflections agree; it need not be a word itself.

    A model of lemmas would have to be downloaded, and one root for two words does little harm here.

    >>> [root(word) for word in ("opens", "opening", "opened", "closes", "closing", "put", "putting", "tidies", "tidy")]
    ['open', 'open', 'open', 'clos', 'clos', 'put', 'put', 'tidi', 'tidi']
    """
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_ROOT:
            word = word.removesuffix(ending)
            break
    if len(word) > _SHORTEST_ROOT and word[-1] == word[-2]:
        word = word[:-1]
    if len(word) > _SHORTEST_ROOT and word.endswith("e"):
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") else word


def generator(*key: object) -> np.random.Generator:
    """Random numbers that depend on the key alone, not on what was drawn before or on the process."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode("utf-8")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


@functools.lru_cache(maxsize=50_000)
def word_direction(word: str, *, rank: int, seed: int) -> Float64[np.ndarray, "R"]:
    """The direction of a word in the hidden space: a random unit vector of `rank` numbers, fixed by word and seed."""
    direction = generator(seed, "word", word).normal(size=rank)
    direction /= np.linalg.norm(direction)
    direction.flags.writeable = False
    return direction


@functools.lru_cache(maxsize=8)
def mixing_matrix(*, rank: int, dim: int, seed: int) -> Float64[np.ndarray, "R D"]:
    """The fixed random matrix that turns hidden numbers into features; it keeps the scale of a number."""
    matrix: Float64[np.ndarray, "R D"] = generator(seed, "mixing").normal(size=(rank, dim)) / np.sqrt(rank)
    matrix.flags.writeable = False
    return matrix
