"""Average precision of ranked spans over all moments of a query, as the evaluators of QVHighlights compute it.

Definition: Lei et al. 2021, "QVHighlights" (moment_detr's standalone_eval), which QD-DETR, CG-DETR, UniVTG and
lighthouse share, after the detection score of ActivityNet. Not in the CI-MHA paper.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float

from vmr.model.spans import temporal_iou

AP_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
AP_DEPTH = 10  # spans of a query that count, the first ones of its line
AP_METRICS = ("mAP@0.5", "mAP@0.75", "mAP")
_COLUMNS = (AP_THRESHOLDS.index(0.5), AP_THRESHOLDS.index(0.75))


def average_precisions(
    ranked: Sequence[npt.NDArray[np.float64] | None], *, truth: Float[np.ndarray, "Q *W 2"]
) -> Float[np.ndarray, "Q 3"]:
    """Average precision of every query by itself; their means are the mAP. Arguments are those of `query_scores`.

    The first `AP_DEPTH` spans are taken in their order. Each is a hit when its best moment that no earlier span took
    has an IoU of at least the threshold. The precision is interpolated: at each recall, the best one from there on.

    Returns:
        One column for each of `AP_METRICS`: at 0.5, at 0.75, and the mean over `AP_THRESHOLDS`.

    >>> spans, moments = np.array([[0.0, 4.0], [5.0, 6.0], [8.0, 9.0]]), np.array([[0.0, 4.0], [8.0, 9.0]])
    >>> average_precisions([spans], truth=moments[None]).round(4).tolist()
    [[0.8333, 0.8333, 0.8333]]
    """
    values = np.zeros((len(truth), len(AP_METRICS)))
    for query, (own, filled) in enumerate(zip(ranked, truth.reshape(len(truth), -1, 2), strict=True)):
        moments = filled[~np.isnan(filled[:, 0])]
        if own is not None and len(own):
            # The evaluators' union here is the sum of lengths less the overlap, other than in their R@1.
            ious = temporal_iou(own[:AP_DEPTH, None], moments[None])
            if len(moments) == 1:  # found once, at a precision of one in the rank of the first span that reaches it
                reached = ious >= np.array(AP_THRESHOLDS)
                of_thresholds = np.where(reached.any(axis=0), 1.0 / (1 + reached.argmax(axis=0)), 0.0)
            else:
                of_thresholds = np.array(
                    [_interpolated(_hits(ious, threshold), len(moments)) for threshold in AP_THRESHOLDS]
                )
            values[query] = *(of_thresholds[column] for column in _COLUMNS), float(np.mean(of_thresholds))
    return values


def _hits(ious: Float[np.ndarray, "N W"], threshold: float) -> Bool[np.ndarray, " N"]:
    """Which spans find a moment that no earlier one took."""
    free = np.ones(ious.shape[1], dtype=bool)
    hits = np.zeros(len(ious), dtype=bool)
    for rank, own in enumerate(ious):
        reached = np.where(free, own, -1.0)
        best = (
            len(own) - 1 - int(reached[::-1].argmax())
        )  # of equally good ones the last, as the evaluators' sort has it
        if reached[best] >= threshold:
            hits[rank], free[best] = True, False
    return hits


def _interpolated(hits: Bool[np.ndarray, " N"], moments: int) -> float:
    """Area under the interpolated precision: the mean over moments of the precision where each is found."""
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[hits].sum() / moments)
