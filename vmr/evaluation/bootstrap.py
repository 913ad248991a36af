"""How far scores would move with other test videos: sums by video, and whole videos drawn again.

The queries of one video are not independent, so that videos are drawn and not queries. Sums by video are all that
such a bootstrap needs; they are kept in a small CSV beside the scores (`write_video_scores`).

V: videos, Q: queries, M: the metrics of `METRICS`, R: resamples.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vmr.errors import EvaluationError
from vmr.evaluation.metrics import METRICS, TRUTHS, Scores
from vmr.storage.records import read_table, write_table

RESAMPLES = 1000
LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)  # quantiles at which an interval ends


@dataclass(frozen=True, eq=False)
class VideoSums:
    """Sums of the scores of each video's queries, by kind of ground truth."""

    video_ids: tuple[str, ...]
    queries: Int[np.ndarray, " V"]
    covered_mask: Bool[np.ndarray, " V"]  # True where the video has features (or an answer)
    sums: dict[str, Float[np.ndarray, "V M"]]


def sum_by_video(
    values: Mapping[str, Float[np.ndarray, "Q M"]],
    *,
    video_ids: Sequence[str],
    covered_mask: Bool[np.ndarray, " Q"] | None = None,
) -> VideoSums:
    """Add the scores of queries up by video, videos in the order of first appearance; no mask: all are covered."""
    codes, videos = pd.factorize(np.asarray(video_ids, dtype=object))
    count = len(videos)
    covered = np.ones(count, dtype=bool)
    if covered_mask is not None:
        covered = np.bincount(codes, weights=covered_mask, minlength=count) > 0
    sums = {
        name: np.stack([np.bincount(codes, weights=column, minlength=count) for column in own.T], axis=1)
        for name, own in values.items()
    }
    return VideoSums(tuple(map(str, videos)), np.bincount(codes, minlength=count), covered, sums)


def mean_sums(several: Sequence[VideoSums]) -> VideoSums:
    """Mean over seeds of sums that belong to the same videos and queries, as `same_videos` says."""
    first = several[0]
    sums = {name: np.mean([own.sums[name] for own in several], axis=0) for name in first.sums}
    return VideoSums(first.video_ids, first.queries, first.covered_mask, sums)


def same_videos(one: VideoSums, other: VideoSums) -> bool:
    """Whether both have the same videos in the same order with as many queries each."""
    return one.video_ids == other.video_ids and np.array_equal(one.queries, other.queries)


def resampled_means(
    sums: Float[np.ndarray, "V M"], *, queries: Int[np.ndarray, " V"], seed: int = 0, resamples: int = RESAMPLES
) -> Float[np.ndarray, "R M"]:
    """Mean scores of test sets made of as many videos, drawn with replacement (the cluster bootstrap), as shares.

    A drawn video brings all its queries, so each mean is a sum over a count. The same seed draws the same videos, so
    that differences of two methods are paired. Each video has at least one query.
    """
    draws = _draws(len(queries), seed, resamples)
    means: Float[np.ndarray, "R M"] = (draws @ sums) / (draws @ queries.astype(np.float64))[:, None]
    return means


def intervals(
    sums: Float[np.ndarray, "V M"],
    *,
    queries: Int[np.ndarray, " V"],
    seed: int = 0,
    resamples: int = RESAMPLES,
    metrics: Sequence[str] = METRICS,
) -> dict[str, list[float]] | None:
    """Percentile bootstrap interval of every metric, ``[low, high]`` in percent; None with fewer than two videos.

    Sums of differences give the interval of a difference.
    """
    if len(queries) < 2:
        return None
    means = resampled_means(sums, queries=queries, seed=seed, resamples=resamples)
    low, high = 100.0 * np.quantile(means, TAILS, axis=0)
    return {metric: [float(low[i]), float(high[i])] for i, metric in enumerate(metrics)}


def confidence_by_video(
    videos: VideoSums,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    metrics: Sequence[str] = METRICS,
) -> dict[str, Any] | None:
    """Intervals by kind of ground truth, and how they were made; None with fewer than two videos."""
    if len(videos.video_ids) < 2:
        return None
    settings: dict[str, Any] = {"level": LEVEL, "resamples": resamples, "seed": seed, "unit": "video"}
    return settings | {
        name: intervals(sums, queries=videos.queries, seed=seed, resamples=resamples, metrics=metrics)
        for name, sums in videos.sums.items()
    }


def covered_scores(videos: VideoSums, covered_mask: Bool[np.ndarray, " V"]) -> dict[str, Scores]:
    """Mean scores in percent over the queries of some videos, by kind of ground truth; empty without any."""
    queries = videos.queries[covered_mask].sum()
    if not queries:
        return {}
    return {
        name: dict(zip(METRICS, (100.0 * sums[covered_mask].sum(axis=0) / queries).tolist(), strict=True))
        for name, sums in videos.sums.items()
    }


def write_video_scores(path: Path, rows: Sequence[VideoSums]) -> None:
    """Write sums by video as CSV: one line for each video of each row (of a table).

    Columns are row (its number), video_id, queries, covered (1 or 0), and a sum for each kind of ground truth and
    metric.
    """
    tables = []
    for number, videos in enumerate(rows):
        columns: dict[str, Any] = {
            "row": number,
            "video_id": videos.video_ids,
            "queries": videos.queries,
            "covered": videos.covered_mask.astype(int),
        }
        for truth, sums in videos.sums.items():
            columns |= {_column(truth, metric): sums[:, i] for i, metric in enumerate(METRICS)}
        tables.append(pd.DataFrame(columns))
    write_table(path, pd.concat(tables))


def read_video_scores(path: Path) -> list[VideoSums]:
    """Read what `write_video_scores` wrote.

    Raises:
        EvaluationError: the file is missing or not such a table.
    """
    needed = ["row", "video_id", "queries", "covered", *(_column(truth, name) for truth in TRUTHS for name in METRICS)]
    again = "Evaluate again."
    table = read_table(path, what="table of scores by video", columns=needed, again=again, error=EvaluationError)
    try:
        return [
            VideoSums(
                tuple(own["video_id"]),
                own["queries"].to_numpy(np.int64),
                own["covered"].to_numpy(str) == "1",
                {truth: own[[_column(truth, name) for name in METRICS]].to_numpy(np.float64) for truth in TRUTHS},
            )
            for _, own in table.groupby(table["row"].astype(np.int64))
        ]
    except ValueError as error:
        raise EvaluationError(f"{path}: the scores by video are numbers ({error}). {again}") from error


def _column(truth: str, metric: str) -> str:
    # Without the comma, so that `cut -d,` finds its fields.
    return f"{truth} {metric.replace(',', ' ')}"


@functools.lru_cache(maxsize=1)
def _draws(videos: int, seed: int, resamples: int) -> Float[np.ndarray, "R V"]:
    """How often each draw holds each video. The rows of one split ask for the same draws: the last are kept."""
    equal = np.full(videos, 1 / videos)
    draws: Float[np.ndarray, "R V"] = (
        np.random.default_rng(seed).multinomial(videos, equal, size=resamples).astype(np.float64)
    )
    draws.flags.writeable = False
    return draws
