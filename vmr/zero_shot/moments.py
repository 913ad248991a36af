"""Probabilities of actions over time, and the stretches of a video in which they are high.

Shapes: N steps of a video, K actions, D numbers of a feature, S stretches.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors
from jaxtyping import Float, Int

from vmr.errors import FeatureError

# An action takes place where its probability comes so high. Not in the paper: the lowest twentieth at which at most one
# in two hundred sentences about something else finds a moment in the tuning material of benchmarks/zero_shot.py.
PEAK = 0.25
_LOGITS = "logits.conv3d"


class ActionClassifier:
    """I3D's own classifier on its features: it is linear in them, so a step's feature gives what its window would.

    Args:
        weights: the file of weights that the features were made with; it has the layer of 400 logits.

    Raises:
        FeatureError: the file is missing, damaged or has other classes.
    """

    def __init__(self, weights: Path, *, actions: int) -> None:
        try:
            with safetensors.safe_open(weights, framework="numpy") as file:
                matrix, bias = (file.get_tensor(f"{_LOGITS}.{part}") for part in ("weight", "bias"))
        except (OSError, safetensors.SafetensorError) as error:
            raise FeatureError(
                f"{weights}: cannot be read as weights of I3D ({error}). Make the file again."
            ) from error
        if len(matrix) != actions:
            raise FeatureError(f"{weights}: expected a classifier of {actions} actions, found {len(matrix)}.")
        self._matrix, self._bias = matrix.reshape(actions, -1).astype(np.float32), bias.astype(np.float32)

    @property
    def dim(self) -> int:
        """Numbers of a feature."""
        return int(self._matrix.shape[1])

    def probabilities(self, features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N K"]:
        """Of every action at every step; they sum to 1."""
        logits = features.astype(np.float32) @ self._matrix.T + self._bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: Float[np.ndarray, "N K"] = powers / powers.sum(axis=1, keepdims=True)
        return found


def stretches(
    evidence: Float[np.ndarray, N], *, most: int, floor: float = 0.0
) -> tuple[Int[np.ndarray, "S 2"], Float[np.ndarray, S]]:
    """First and last steps of the stretches of high evidence, and its mean in each, the highest first.

    A stretch has the largest surplus over half the peak of what is left. Not over the mean of the video, as an action
    that fills its video lies above its mean in a part of it only.

    Args:
        evidence: probability that the action takes place, at each step.
        most: stretches at most; they do not overlap.
        floor: peaks below it are none.

    >>> stretches(np.array([0.0, 0.9, 0.8, 0.1, 0.6]), most=2)[0].tolist()
    [[1, 2], [4, 4]]
    """
    free = evidence.astype(np.float64)
    found: list[tuple[int, int, float]] = []
    while len(found) < most and len(free) and (peak := free.max()) > 0 and peak >= floor:
        surplus = np.concatenate([[0.0], np.cumsum(np.where(free < 0, -1e9, free - peak / 2))])
        lowest = np.minimum.accumulate(surplus)
        end = int(np.argmax(surplus[1:] - lowest[:-1]))
        first = int(np.flatnonzero(surplus[: end + 1] == lowest[end])[-1])
        found.append((first, end, float(evidence[first : end + 1].mean())))
        free[first : end + 1] = -1.0
    found.sort(key=lambda each: -each[2])
    spans = np.array([each[:2] for each in found], dtype=np.int64).reshape(-1, 2)
    return spans, np.array([each[2] for each in found])
