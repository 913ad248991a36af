"""Arithmetic of temporal spans: intersection over union, seconds to steps, pooling of long videos.

A span is a pair (start_sec, end_sec). A step owns the interval that is stored with it; the intervals of a video
are sorted and do not overlap. Nothing here imports torch, so that scoring predictions does not pay for it.
"""

import importlib
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

Array = TypeVar("Array")
_LONG_SEC = float(np.finfo(np.float64).max) / 8


def temporal_iou(pred: Array, truth: Array, *, hull: bool = False) -> Array:
    """Intersection over union of spans in time; the measure behind every score of the tables.

    The union is the sum of both lengths less the overlap. With `hull` it is the last end less the first start where
    spans overlap, as the scripts of TALL, 2D-TAN and CPL compute it. The two differ by rounding alone, which decides
    ties at a threshold. Scores take the hull; validation, decoding and the choice among overlapping spans keep the sum.

    Not in the paper: two spans without any length (their union is empty) count 1 when they are the same point
    and 0 otherwise. A span that ends before it starts counts as a point at its start.

    Args:
        pred: spans in seconds, shape (..., 2), a numpy array (or nested list) or a torch tensor.
        truth: spans in seconds, of the same kind; the leading dimensions broadcast against those of `pred`.
        hull: how the union of overlapping spans is computed.

    Returns:
        Values in [0, 1], shape (...), of the same kind as `pred`.

    >>> temporal_iou(np.array([[0.0, 10.0], [5.0, 5.0]]), np.array([[5.0, 15.0], [5.0, 5.0]])).round(4).tolist()
    [0.3333, 1.0]
    >>> [bool(temporal_iou([2.3, 6.6], [2.5, 10.5], hull=hull) >= 0.5) for hull in (False, True)]
    [False, True]
    """
    # The two libraries share these names; torch is only looked up when a tensor has already brought it along.
    library: Any = np
    first: Any
    second: Any
    if type(pred).__module__.partition(".")[0] == "torch":
        library = importlib.import_module("torch")
        first, second = pred, truth
    else:
        first, second = np.asarray(pred, dtype=np.float64), np.asarray(truth, dtype=np.float64)
        if any((np.abs(spans) > _LONG_SEC).any() for spans in (first, second)):
            # The sum of two lengths would overflow. A power of two changes no ratio.
            first, second = first / 8, second / 8
    pred_start, truth_start = first[..., 0], second[..., 0]
    pred_end = library.maximum(first[..., 1], pred_start)
    truth_end = library.maximum(second[..., 1], truth_start)
    overlap = library.minimum(pred_end, truth_end) - library.maximum(pred_start, truth_start)
    overlap = overlap.clip(min=0)
    union = (pred_end - pred_start) + (truth_end - truth_start) - overlap
    if hull:
        whole = library.maximum(pred_end, truth_end) - library.minimum(pred_start, truth_start)
        union = library.where(overlap > 0, whole, union)
    same_point = (pred_start == truth_start) & (pred_end == truth_end)
    empty = union <= 0
    result: Array = library.where(
        empty, same_point * library.ones_like(union), overlap / library.where(empty, 1, union)
    )
    return result


def span_to_steps(
    span: Float[np.ndarray, "Q 2"], *, start_sec: Float[np.ndarray, "N"], end_sec: Float[np.ndarray, "N"]
) -> Int[np.ndarray, "Q 2"]:
    """First and last step (inclusive) of spans: the labels of the start, end and segmentation tasks.

    The first step is the one whose interval contains the start, the last the one that contains the end; an
    end exactly at a step's start belongs to the step before. Times outside of the steps go to the nearest step.

    Returns:
        Pairs of step indices, first <= last.

    >>> span_to_steps(np.array([[1.0, 2.0]]), start_sec=np.array([0.0, 1.0, 2.0]), end_sec=np.array([1.0, 2.0, 3.0]))
    array([[1, 1]])
    """
    steps = len(start_sec)
    first = np.searchsorted(end_sec, span[:, 0], side="right").clip(0, steps - 1)
    last = (np.searchsorted(start_sec, span[:, 1], side="left") - 1).clip(0, steps - 1)
    return np.stack([first, np.maximum(first, last)], axis=1)


def pool_steps(
    features: Float[np.ndarray, "N D"],
    start_sec: Float[np.ndarray, "N"],
    end_sec: Float[np.ndarray, "N"],
    *,
    max_steps: int,
) -> tuple[Float[np.ndarray, "M D"], Float[np.ndarray, "M"], Float[np.ndarray, "M"]]:
    """Shorten a video of more than `max_steps` steps to `max_steps` equal time intervals by averaging.

    Not in the paper, which only says that at most 128 steps are used: each new step is the mean of the old
    ones weighted by how long each lies inside it, so that the last old step counts like any other. Videos
    that are short enough come back as they are: they are never stretched.

    Returns:
        Features, starts and ends of M = min(N, max_steps) steps.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}; expected at least 1")
    if len(features) <= max_steps:
        return features, start_sec, end_sec
    edges = np.linspace(start_sec[0], end_sec[-1], max_steps + 1)
    inside = np.minimum(end_sec[None], edges[1:, None]) - np.maximum(start_sec[None], edges[:-1, None])
    weights = inside.clip(min=0)
    # An interval inside a gap between steps overlaps none of them: it takes the nearest one.
    middle = (start_sec + end_sec)[None] - (edges[1:] + edges[:-1])[:, None]
    nearest = np.abs(middle).argmin(axis=1)
    lonely = weights.sum(axis=1) <= 0
    weights[lonely, nearest[lonely]] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    pooled = (weights @ features.astype(np.float64)).astype(features.dtype)
    return pooled, edges[:-1].copy(), edges[1:].copy()
