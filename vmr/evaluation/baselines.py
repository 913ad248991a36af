"""What can be reached without looking at the video or at the query: random spans and constant windows."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from vmr.annotations.moments import read_moments
from vmr.evaluation.bootstrap import VideoSums, confidence_by_video, sum_by_video, write_video_scores
from vmr.evaluation.evaluate import select_queries
from vmr.evaluation.metrics import (
    METRICS,
    THRESHOLDS,
    TOPS,
    recall_name,
    score_sets,
    truth_spans,
)
from vmr.model.spans import temporal_iou
from vmr.storage.code_digest import code_digest
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions

_LOG = logging.getLogger(__name__)
GRID_STEPS = 20
CRITERIA = (*(recall_name(1, threshold) for threshold in THRESHOLDS), "mIoU")
_CODE = ("vmr.evaluation.baselines",)


def compute_baselines(
    *,
    moments: Path,
    manifests: list[Path],
    train_split: str,
    splits: list[str],
    split_name: str,
    output: Path,
    video_scores: Path,
    seed: int = 0,
) -> None:
    """Write the scores of the random baseline and of the best constant windows as JSON.

    A constant window is [a * duration, b * duration] with the same a and b for every query. They are chosen on the
    (clamped) training moments, once for each of R@1 at the three thresholds and mIoU; criteria that choose the
    same window share a row. Queries of videos whose duration nobody knows count as wrong.

    Args:
        video_scores: CSV of sums by video to write, in the order of the JSON's rows. The table takes intervals from it,
            and scores on the videos that a trained method covers.

    Raises:
        EvaluationError: a split has no queries.
    """
    table = read_moments(moments)
    training = select_queries(table, splits=[train_split], manifests=manifests, moments=moments)
    queries = select_queries(table, splits=splits, manifests=manifests, moments=moments)
    duration = queries["duration_sec"].to_numpy()
    truths = truth_spans(queries)
    rows: list[dict[str, Any]] = []
    sums: list[VideoSums] = []

    def add_row(values: dict[str, Float[np.ndarray, "Q M"]], **facts: Any) -> None:
        sums.append(sum_by_video(values, video_ids=queries["video_id"].tolist()))
        confidence = confidence_by_video(sums[-1], seed=seed)
        rows.append({**facts, "scores": score_sets(values, covered_mask=None), "confidence": confidence})

    add_row(
        {name: expected_random_scores(truth, duration_sec=duration) for name, truth in truths.items()},
        method="random",
        window=None,
        criteria=[],
    )
    windows: dict[tuple[float, float], list[str]] = {}
    for criterion, window in choose_windows(training).items():
        windows.setdefault(window, []).append(criterion)
    for window, criteria in windows.items():
        add_row(
            {name: window_scores(truth, duration_sec=duration, window=window) for name, truth in truths.items()},
            method="constant_window",
            window=list(window),
            criteria=criteria,
        )
    write_video_scores(video_scores, sums)
    write_json(
        output,
        {
            "split": split_name,
            "splits": splits,
            "train_split": train_split,
            "training_queries": len(training),
            "grid_step": 1 / GRID_STEPS,
            "queries": len(queries),
            "videos": int(queries["video_id"].nunique()),
            "unknown_duration": int(np.isnan(duration).sum()),
            "rows": rows,
            "video_scores": os.path.relpath(video_scores, output.parent),
            "provenance": {"code": code_digest(_CODE), "versions": library_versions(["numpy", "pandas"])},
        },
    )
    _LOG.info("%s: constant windows %s", split_name, {str(window): names for window, names in windows.items()})


def choose_windows(training: pd.DataFrame, *, grid_steps: int = GRID_STEPS) -> dict[str, tuple[float, float]]:
    """The window of each criterion that scores best on the training moments, as shares (a, b) of the duration.

    Not in the paper: chosen as the strongest answer that sees neither video nor query. All windows on a grid of 1 /
    `grid_steps` are tried; of equally good ones the smaller a counts, then the smaller b. It is the whole video when no
    row can take part.

    Args:
        training: rows of `select_queries`; those of unknown duration, or empty after clamping, do not take part.
    """
    # Of several windows of a sentence the one that is trained on.
    truth = training[["clamped_start_sec", "clamped_end_sec"]].to_numpy(np.float64)
    duration = training["duration_sec"].to_numpy()
    usable = (duration > 0) & (truth[:, 1] > truth[:, 0])
    truth, duration = truth[usable], duration[usable]
    if not len(truth):
        return dict.fromkeys(CRITERIA, (0.0, 1.0))
    windows = [(a / grid_steps, b / grid_steps) for a in range(grid_steps) for b in range(a + 1, grid_steps + 1)]
    columns = [METRICS.index(criterion) for criterion in CRITERIA]
    means = np.array(
        [
            window_scores(truth, duration_sec=duration, window=window).mean(axis=0)[columns].round(12)
            for window in windows
        ]
    )
    return {criterion: windows[int(means[:, i].argmax())] for i, criterion in enumerate(CRITERIA)}


def window_scores(
    truth: Float[np.ndarray, "Q *W 2"], *, duration_sec: Float[np.ndarray, " Q"], window: tuple[float, float]
) -> Float[np.ndarray, "Q M"]:
    """Scores of each query when [a * duration, b * duration] is the one answer to all, so that R@5 equals R@1. Queries
    of unknown (NaN) duration are wrong.
    """
    moments = truth.reshape(len(truth), -1, 2)
    ious = np.nan_to_num(temporal_iou(np.outer(duration_sec, window)[:, None], moments, hull=True)).max(axis=1)
    recalls = [ious >= threshold for _ in TOPS for threshold in THRESHOLDS]
    return np.stack([*recalls, ious], axis=1).astype(np.float64)


def expected_random_scores(
    truth: Float[np.ndarray, "Q *W 2"], *, duration_sec: Float[np.ndarray, " Q"]
) -> Float[np.ndarray, "Q M"]:
    """Expected scores of a random span: two independent uniform points of the video, in order.

    Exact up to quadrature, so that no seed can be lucky: R@1 from `random_hit_probability`, R@n as the chance that one
    of n spans hits, mIoU as the integral of the hit probability over the threshold. The paper prints a random row
    (Charades-STA test: 8.51 at 0.5 and 3.03 at 0.7) without saying how its spans are drawn; ours gives 10.84 and 3.03.

    Args:
        truth: the moments, in seconds; several of a query are scored on a grid of spans.
    """
    if truth.ndim == 3:
        values = expected_random_scores(truth[:, 0], duration_sec=duration_sec)
        for query in np.flatnonzero(np.isfinite(truth[:, 1:, 0]).any(axis=1) & np.isfinite(duration_sec)):
            values[query] = _on_a_grid(truth[query] / duration_sec[query])
        return values
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = truth / duration_sec[:, None]
    known = np.isfinite(relative).all(axis=1)
    values = np.zeros((len(truth), len(METRICS)))
    recalls = np.stack([random_hit_probability(relative[known], threshold=threshold) for threshold in THRESHOLDS], 1)
    # Gauss-Legendre on (0, 1): 100 nodes agree with 1,000 to 1e-5.
    nodes, weights = np.polynomial.legendre.leggauss(100)
    miou = np.zeros(len(recalls))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        miou += weight * random_hit_probability(relative[known], threshold=float(node))
    values[known] = np.concatenate([*(1 - (1 - recalls) ** top for top in TOPS), miou[:, None]], axis=1)
    return values


def _on_a_grid(relative: Float[np.ndarray, "W 2"], *, points: int = 200) -> Float[np.ndarray, " M"]:
    """Expected scores of a random span against several moments, within about 1 / `points`."""
    start, end = np.triu_indices(points)
    weights = np.where(start == end, 1.0, 2.0) / points**2
    spans = (np.stack([start, end], axis=1) + 0.5) / points
    ious = np.nan_to_num(temporal_iou(spans[:, None], relative[None], hull=True)).max(axis=1)
    recalls = np.array([weights[ious >= threshold].sum() for threshold in THRESHOLDS])
    return np.concatenate([*(1 - (1 - recalls) ** top for top in TOPS), [weights @ ious]])


def random_hit_probability(relative: Float[np.ndarray, "Q 2"], *, threshold: float) -> Float[np.ndarray, " Q"]:
    """Probability that two uniform points of [0, 1], in order, have a temporal IoU >= threshold with a span.

    For a start x, the ends y that hit form one interval; its bounds are linear in x. So the hits fill two polygons: one
    for x before the span, one for x inside it.

    Args:
        relative: spans as shares of the duration, start <= end; they may leave [0, 1]. Those without length get 0.
        threshold: in (0, 1].

    >>> random_hit_probability(np.array([[0.0, 1.0]]), threshold=0.5).tolist()  # the triangle y - x >= 1/2
    [0.25]
    """
    start, end, m = relative[:, 0], relative[:, 1], threshold
    length = end - start
    # x before the span: y from start + m (end - x) to x + length / m.
    before = _area(
        low=np.maximum(0.0, end - length / m),
        high=np.minimum(1.0, start),
        floor=(start + m * end, -m),
        ceiling=(length / m, 1.0),
    )
    # x inside the span: y from x + m length to start + (end - x) / m.
    inside = _area(
        low=np.clip(start, 0.0, None),
        high=np.minimum(1.0, end - m * length),
        floor=(m * length, 1.0),
        ceiling=(start + end / m, -1.0 / m),
    )
    # Ordered pairs of uniform points have density 2 on the triangle x < y.
    probability: Float[np.ndarray, " Q"] = np.where(length > 0, 2.0 * (before + inside), 0.0)
    return probability


def _area(
    *,
    low: Float[np.ndarray, " Q"],
    high: Float[np.ndarray, " Q"],
    floor: tuple[Float[np.ndarray, " Q"], float],
    ceiling: tuple[Float[np.ndarray, " Q"], float],
) -> Float[np.ndarray, " Q"]:
    """Area between two lines (intercept, slope) for x in [low, high], cut at y = 1, where the ceiling is above.

    The lines cross outside (low, high), so that the height is linear between the ends and the crossings with 1.
    """
    high = np.maximum(low, high)
    crossings = [(1.0 - line[0]) / line[1] for line in (floor, ceiling)]
    x = np.sort(np.stack([low, high, *(np.clip(crossing, low, high) for crossing in crossings)], axis=1), axis=1)
    top = np.minimum(1.0, ceiling[0][:, None] + ceiling[1] * x)
    height = np.maximum(0.0, top - (floor[0][:, None] + floor[1] * x))
    area: Float[np.ndarray, " Q"] = ((height[:, 1:] + height[:, :-1]) / 2 * np.diff(x, axis=1)).sum(axis=1)
    return area
