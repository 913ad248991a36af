"""Sentences to actions of Kinetics, by the sentence encoder."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# A class counts as named by a sentence from this cosine on. Not in the paper: nine tenths of the tuning sentences of
# benchmarks/zero_shot.py lie above; its result says what the held-out half gives.
NEAR = 0.44
# Classes this close to the nearest one are meant, too, so many at most: "a man takes his puppy out" is no one class.
WITHIN, MOST = 0.10, 5

Encode = Callable[[Sequence[str]], Float[np.ndarray, "Q E"]]


@dataclass(frozen=True)
class Named:
    """An action that a sentence names."""

    action: str
    number: int  # of its logit
    similarity: float  # cosine, at most 1


@functools.cache
def action_names() -> tuple[str, ...]:
    """The 400 classes, in the order of the logits."""
    text = importlib.resources.files("vmr.zero_shot").joinpath("classes", "kinetics400.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if not line.startswith("#"))


class ActionMatcher:
    """Finds the classes that a sentence names.

    Args:
        encode: sentences to vectors of length 1, such as `SentenceEncoder`.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        names = action_names()
        # The name alone and in a sentence: a little better than either (benchmarks/zero_shot.py).
        both = encode([*names, *(f"someone is {name}" for name in names)])
        vectors = both[: len(names)] + both[len(names) :]
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def similarities(self, sentences: Sequence[str]) -> Float[np.ndarray, "Q 400"]:
        """Cosine of every sentence with every class."""
        found: Float[np.ndarray, "Q 400"] = self._encode(sentences) @ self._vectors.T
        return found

    def match(self, sentence: str) -> list[Named]:
        """The nearest classes, nearest first; the first one's similarity says whether it is meant (`NEAR`)."""
        return named(self.similarities([sentence])[0])


def named(similarity: Float[np.ndarray, 400]) -> list[Named]:
    """The classes that are about as near as the nearest one, of their similarities with a sentence."""
    order = np.argsort(-similarity, kind="stable")[:MOST]
    kept = [int(number) for number in order if similarity[number] >= similarity[order[0]] - WITHIN]
    return [Named(action_names()[number], number, float(similarity[number])) for number in kept]
