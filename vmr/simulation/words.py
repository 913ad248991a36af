"""What a sentence says, as directions: a fixed random one for each content word."""

import functools
import hashlib

import numpy as np
from jaxtyping import Float64

from vmr.queries.tokenize import tokenize


def content_words(sentence: str) -> list[str]:
    """Words of a sentence that can be seen in a video: no stop words of spaCy, no punctuation, each once.

    Args:
        sentence: any text with a word in it.

    Returns:
        Lower-case words in their order; of a sentence of stop words alone all of its words.

    >>> content_words("A person opens the door, then another door.")
    ['person', 'opens', 'door']
    >>> content_words("They do it.")
    ['they', 'do', 'it']
    """
    from spacy.lang.en.stop_words import STOP_WORDS

    words = list(dict.fromkeys(word for word in tokenize(sentence) if word.isalpha()))
    return [word for word in words if word not in STOP_WORDS] or words


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
