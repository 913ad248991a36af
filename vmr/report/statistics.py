"""Numbers behind the report's charts, per query or per bin.

Q: queries, T: thresholds, G: cells of a side of the bias plot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vmr.evaluation.bootstrap import TAILS, resampled_means

IOU_BINS = 20


@dataclass(frozen=True)
class Bins:
    """Queries sorted into bins."""

    labels: tuple[str, ...]
    member: Int[np.ndarray, " Q"]  # number of the bin of each query, -1 where the value is not known
    unit: str  # what the labels are counted in

    def counts(self) -> list[int]:
        """Number of queries of each bin."""
        return [int((self.member == number).sum()) for number in range(len(self.labels))]


@dataclass(frozen=True)
class BinScore:
    """Recall of one bin in percent, with a 95 % interval over videos where there are two videos or more."""

    value: float
    limits: tuple[float, float] | None


def recall_curve(iou: Float[np.ndarray, " Q"], thresholds: Float[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
    """Percentage of queries whose first span has at least each IoU; ties count, as in the table.

    >>> recall_curve(np.array([0.0, 0.5, 0.8, 1.0]), np.array([0.5, 0.7, 1.0])).tolist()
    [75.0, 50.0, 25.0]
    """
    ordered = np.sort(iou)
    below = np.searchsorted(ordered, thresholds, side="left")
    shares: Float[np.ndarray, " T"] = 100.0 * (len(iou) - below) / max(len(iou), 1)
    return shares


def iou_shares(iou: Float[np.ndarray, " Q"]) -> tuple[float, Float[np.ndarray, " T"]]:
    """Distribution of IoU: queries without any overlap apart, the others in twentieths.

    Args:
        iou: of the first span of every query, 0 where there is none.

    Returns:
        The percentage of zeros, and percentages of (0, 0.05), [0.05, 0.1), ... [0.95, 1], all of all queries.
    """
    edges = np.arange(IOU_BINS + 1) / IOU_BINS
    counts, _ = np.histogram(iou[iou > 0], bins=edges)
    share = 100.0 / max(len(iou), 1)
    return share * int((iou <= 0).sum()), share * counts


def quantile_bins(values: Float[np.ndarray, " Q"], *, unit: str, count: int = 5, whole: bool = False) -> Bins:
    """Bins that hold about as many queries each, with edges of few digits; fewer bins where values repeat.

    Args:
        values: NaN where unknown.
        whole: values are whole numbers, and labels name the first and last of a bin.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return Bins((), np.full(len(values), -1), unit)
    digits = 0 if whole or known.max() >= 100 else 1
    inner = np.quantile(known, np.arange(1, count) / count)
    inner = np.ceil(inner) if whole else inner.round(digits)
    inner = np.unique(inner)
    # An edge below which, or from which on, there is nothing makes an empty bin.
    inner = inner[(inner > known.min()) & (inner <= known.max())]
    member = np.where(np.isfinite(values), np.searchsorted(inner, values, side="right"), -1)
    filled = [number for number in range(len(inner) + 1) if (member == number).any()]
    edges = [known.min(), *inner, known.max()]
    labels = [_label(edges, number, digits=digits, whole=whole) for number in filled]
    renumbered = np.full(len(inner) + 2, -1)
    renumbered[filled] = np.arange(len(filled))
    return Bins(tuple(labels), renumbered[member], unit)


def share_bins(values: Float[np.ndarray, " Q"], *, unit: str, count: int = 5) -> Bins:
    """Bins of equal width for shares from 0 to 1; values outside go to the nearest, NaN to none.

    >>> share_bins(np.array([0.0, 0.2, 1.0, np.nan]), unit="%").member.tolist()
    [0, 1, 4, -1]
    """
    known = np.isfinite(values)
    # Rounded, since 0.6 / 0.2 is 2.9999999999999996 in floating point.
    member = np.floor(np.round(np.where(known, values, 0.0) * count, 9)).astype(np.int64).clip(0, count - 1)
    labels = tuple(f"{100 * i // count}–{100 * (i + 1) // count}" for i in range(count))
    return Bins(labels, np.where(known, member, -1), unit)


def recall_by_bin(hits: Float[np.ndarray, " Q"], bins: Bins, *, video_ids: Sequence[str]) -> list[BinScore | None]:
    """Recall of every bin, None of an empty one, and how far it would move with other videos.

    Args:
        hits: share of the seeds whose first span is right, for every query.
    """
    codes, _ = pd.factorize(np.asarray(video_ids, dtype=object))
    scores: list[BinScore | None] = []
    for number in range(len(bins.labels)):
        inside = bins.member == number
        if not inside.any():
            scores.append(None)
            continue
        _, own = np.unique(codes[inside], return_inverse=True)
        queries = np.bincount(own)
        limits = None
        if len(queries) > 1:
            sums = np.bincount(own, weights=hits[inside])[:, None]
            low, high = 100.0 * np.quantile(resampled_means(sums, queries=queries), TAILS)
            limits = float(low), float(high)
        scores.append(BinScore(100.0 * float(hits[inside].mean()), limits))
    return scores


def span_density(
    span_sec: Float[np.ndarray, "Q 2"], duration_sec: Float[np.ndarray, " Q"], *, cells: int
) -> Float[np.ndarray, "G G"]:
    """Where spans lie: percentage of spans by start (rows) and end (columns), as shares of their video.

    Args:
        span_sec: NaN where there is no span; such queries are left out, as those of unknown duration.

    Returns:
        Percentages that add up to 100, or zeros where nothing is known.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = (span_sec / duration_sec[:, None]).clip(0.0, 1.0)
    shares = shares[np.isfinite(shares).all(axis=1)]
    counts, _, _ = np.histogram2d(shares[:, 0], shares[:, 1], bins=cells, range=((0, 1), (0, 1)))
    density: Float[np.ndarray, "G G"] = 100.0 * counts / max(len(shares), 1)
    return density


def _label(edges: Sequence[float], number: int, *, digits: int, whole: bool) -> str:
    low, high = edges[number], edges[number + 1]
    last = number == len(edges) - 2
    if whole and not last:
        high -= 1
    texts = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return texts[0] if texts[0] == texts[1] else "–".join(texts)
