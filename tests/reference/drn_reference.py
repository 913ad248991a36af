"""DRN's places, positives and losses, and what a level looks for, one at a time in plain Python."""

import math

import numpy as np
from reference.neighbours_reference import Vectors, Weights, linear, relu, softmax
from reference.proposals_reference import iou

LEVELS = ((1, -1.0, 6.0), (2, 5.6, 11.0), (4, 11.0, math.inf))


def places() -> list[tuple[float, float, float]]:
    """Each place in 32nds of the video, and the range of its longer distance."""
    return [((i + 0.5) * stride, least, most) for stride, least, most in LEVELS for i in range(32 // stride)]


def targets(start: float, end: float) -> list[tuple[float, float] | None]:
    """Distances of the positive places from a moment; None for the others."""
    found: list[tuple[float, float] | None] = []
    for place, least, most in places():
        left, right = place - 32 * start, 32 * end - place
        positive = left > 0 and right > 0 and least <= max(left, right) <= most
        found.append((left, right) if positive else None)
    return found


def losses(queries: list[dict], *, overlap_from: float) -> tuple[float, float, float]:
    """Of match, span and overlap.

    Args:
        queries: with `moment`; and for each place `match` and `overlap` (probabilities) and `distances`.
        overlap_from: see the network.
    """
    focal, spans, overlaps, count = 0.0, [], [], 0
    for query in queries:
        start, end = query["moment"]
        each = zip(places(), targets(start, end), query["match"], query["overlap"], query["distances"], strict=True)
        for (place, _, _), truth, match, overlap, (left, right) in each:
            true_iou = iou(((place - left) / 32, (place + right) / 32), (start, end))
            if truth:
                count += 1
                focal -= 0.25 * (1 - match) ** 2 * math.log(match)
                shared = min(left, truth[0]) + min(right, truth[1])
                spans.append(-math.log(shared / (left + right + sum(truth) - shared)))
            else:
                focal -= 0.75 * match**2 * math.log(1 - match)
            if truth or true_iou > overlap_from:
                overlaps.append((overlap - true_iou) ** 2 / 2)
    mean = lambda values: sum(values) / max(len(values), 1)  # noqa: E731
    return focal / (count + len(queries)), mean(spans), mean(overlaps)


def commands(weights: Weights, words: Vectors) -> list[np.ndarray]:
    """What each level looks for: a weighted sum of the encoded words."""
    shared = relu(linear(weights, "commands.shared", np.concatenate([words[0], words[-1]])))
    found = []
    for level in range(3):
        wanted = linear(weights, f"commands.levels.{level}", shared)
        share = softmax([float(linear(weights, "commands.weight", wanted * word)[0]) for word in words])
        found.append(sum(part * word for part, word in zip(share, words, strict=True)))
    return found
