"""R@n at a temporal IoU, and mIoU: per query and averaged."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Bool, Float

from vmr.annotations.moments import WINDOWS, windows_of
from vmr.model.spans import temporal_iou

THRESHOLDS = (0.3, 0.5, 0.7)
TOPS = (1, 5)
TRUTHS = ("raw", "clamped")
Scores = dict[str, float]


def recall_name(top: int, threshold: float) -> str:
    """Name of a recall in metrics.json.

    >>> recall_name(1, 0.5)
    'R@1,IoU=0.5'
    """
    return f"R@{top},IoU={threshold}"


METRICS = (*(recall_name(top, threshold) for top in TOPS for threshold in THRESHOLDS), "mIoU")


def query_scores(
    ranked: Sequence[npt.NDArray[np.float64] | None], *, truth: Float[np.ndarray, "Q *W 2"]
) -> Float[np.ndarray, "Q M"]:
    """Score every query by itself.

    R@n, IoU>=m is 1 when one of the first n spans has a temporal IoU of at least m with the truth, else 0. A tie at m
    counts, as in the usual scripts. mIoU is the IoU of the first span. Of several moments of a query the one with the
    largest IoU counts, span by span, as in moment_detr's evaluator. A query without any span is wrong everywhere.

    Args:
        ranked: spans in seconds of each query, shape (n, 2), best first; None for a query that was not answered.
        truth: the moments, in seconds: one a query, or W of them, NaN where a query has fewer.

    Returns:
        One column for each of `METRICS`, values in [0, 1].

    >>> query_scores([np.array([[0.0, 5.0], [0.0, 9.0]])], truth=np.array([[0.0, 10.0]])).tolist()
    [[1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.5]]
    """
    depth = max(TOPS)
    spans = np.zeros((len(truth), depth, 2))
    valid_mask = np.zeros((len(truth), depth), dtype=bool)  # True where a span was given
    for query, own in enumerate(ranked):
        if own is not None and len(own):
            given = own[:depth]
            spans[query, : len(given)] = given
            valid_mask[query, : len(given)] = True
    # No threshold is 0, so that 0 in the place of a missing span never counts.
    moments = truth.reshape(len(truth), 1, -1, 2)
    of_moments = np.nan_to_num(temporal_iou(spans[:, :, None], moments, hull=True))
    ious = np.where(valid_mask, of_moments.max(axis=2), 0.0)
    columns = [ious[:, :top].max(axis=1) >= threshold for top in TOPS for threshold in THRESHOLDS]
    return np.stack([*columns, ious[:, 0]], axis=1).astype(np.float64)


def best_of(candidates: Float[np.ndarray, "M 2"], truth: Float[np.ndarray, "*W 2"]) -> Float[np.ndarray, "1 2"]:
    """The candidate that fits one of a query's moments best, as its only answer; of equal ones the first.

    >>> best_of(np.array([[0.0, 5.0], [4.0, 10.0]]), np.array([5.0, 10.0])).tolist()
    [[4.0, 10.0]]
    """
    ious = np.nan_to_num(temporal_iou(candidates[:, None], truth.reshape(1, -1, 2), hull=True)).max(axis=1)
    best = int(ious.argmax())
    return candidates[best : best + 1]


def average(values: Float[np.ndarray, "Q M"], *, metrics: Sequence[str] = METRICS) -> Scores | None:
    """Mean over queries in percent, by name of metric; None when there is no query."""
    if not len(values):
        return None
    return dict(zip(metrics, (100.0 * values.mean(axis=0)).tolist(), strict=True))


def truth_spans(clamped: pd.DataFrame) -> dict[str, Float[np.ndarray, "Q *W 2"]]:
    """Raw and clamped ground truth out of a table that `clamp_spans` made; all windows where queries have several."""
    if WINDOWS in clamped:
        windows = {"raw": windows_of(clamped), "clamped": windows_of(clamped, column=f"clamped_{WINDOWS}")}
        most = max(map(len, windows["raw"].values()))
        filled = {name: np.full((len(clamped), most, 2), np.nan) for name in windows}
        for name, of_query in windows.items():
            for row, own in enumerate(of_query.values()):
                filled[name][row, : len(own)] = own
        return filled
    return {
        "raw": clamped[["start_sec", "end_sec"]].to_numpy(np.float64),
        "clamped": clamped[["clamped_start_sec", "clamped_end_sec"]].to_numpy(np.float64),
    }


def score_sets(
    values: Mapping[str, Float[np.ndarray, "Q M"]],
    *,
    covered_mask: Bool[np.ndarray, " Q"] | None,
    metrics: Sequence[str] = METRICS,
) -> dict[str, Scores | None]:
    """Averages over all queries and over the covered ones: ``{"raw": ..., "raw_covered": ...}`` and so on.

    Args:
        covered_mask: True where the video of the query has features; None when that means nothing (baselines).
    """
    sets = {name: average(own, metrics=metrics) for name, own in values.items()}
    if covered_mask is not None:
        sets |= {f"{name}_covered": average(own[covered_mask], metrics=metrics) for name, own in values.items()}
    return sets
