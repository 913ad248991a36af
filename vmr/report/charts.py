"""The report's charts of one group of runs, each with the numbers behind it as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from vmr.methods.catalogue import title_of
from vmr.model.spans import temporal_iou
from vmr.report.run_answers import Group
from vmr.report.statistics import (
    IOU_BINS,
    Bins,
    BinScore,
    iou_shares,
    quantile_bins,
    recall_by_bin,
    recall_curve,
    share_bins,
    span_density,
)
from vmr.report.svg import Axis, Line, bar_chart, cell_map, line_chart, nice_ticks

THRESHOLD = 0.5  # of the recalls by kind of query
_CURVE = np.arange(1, 101) / 100
_PERCENT = [0, 20, 40, 60, 80, 100]
_IOU_TICKS = [-1.1 / IOU_BINS, 0.2, 0.4, 0.6, 0.8, 1]
_FEW_QUERIES = 1000  # below so many the bias plot has cells of a tenth instead of a twentieth


@dataclass(frozen=True)
class Chart:
    """A chart and its numbers."""

    title: str
    svg: str
    header: Sequence[str] = ()  # of the table of its numbers; empty for no table
    rows: Sequence[Sequence[str]] = ()
    note: str = ""  # below the chart
    method: str = ""  # whose it is alone; empty for charts of several


@dataclass(frozen=True)
class Window:
    """A constant window as a reference: the same share of every video."""

    start: float
    end: float

    @property
    def name(self) -> str:
        """What charts call it."""
        return f"Constant window [{self.start:.2f}, {self.end:.2f}]"

    def iou(self, queries: pd.DataFrame) -> Float[np.ndarray, " Q"]:
        """Its IoU with the ground truth as annotated; 0 where the duration is not known."""
        span = np.outer(queries["duration_sec"].to_numpy(np.float64), [self.start, self.end])
        truth = queries[["start_sec", "end_sec"]].to_numpy(np.float64)
        return np.asarray(np.nan_to_num(temporal_iou(span, truth)))


def recall_chart(group: Group, window: Window | None) -> Chart:
    """Recall of the first span against the IoU that is asked for; mean over seeds."""
    curves = [
        (title_of(method), f"m-{method}", np.mean([recall_curve(run.iou, _CURVE) for run in runs], axis=0))
        for method, runs in group.runs.items()
    ]
    reference = [(window.name, "m-window", recall_curve(window.iou(group.queries), _CURVE))] if window else []
    lines = [
        Line(name, key, list(zip(_CURVE.tolist(), curve.tolist(), strict=True)))
        for name, key, curve in [*reference, *curves]
    ]
    names = {name: curve for name, _, curve in [*curves, *reference]}
    shown = range(9, 100, 10)  # every tenth
    rows = [[f"{_CURVE[i]:.1f}", *(f"{curve[i]:.1f}" for curve in names.values())] for i in shown]
    at_half = "; ".join(f"{name} {curve[49]:.1f}" for name, curve in names.items())
    return Chart(
        "Recall against IoU",
        line_chart(
            lines,
            x=Axis("at least this IoU", 0, 1, [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]),
            y=Axis("R@1 (%)", 0, 100, _PERCENT),
            title="Recall of the first span against the IoU threshold",
            description=f"Percent at IoU 0.5: {at_half}.",
            width=500,
            height=300,
        ),
        ["IoU", *names],
        rows,
    )


def iou_charts(group: Group) -> list[Chart]:
    """Distribution of the IoU of first spans, a chart a method; all seeds together."""
    found = {method: iou_shares(group.ious(method).ravel()) for method in group.runs}
    high = max(max(zeros, shares.max()) for zeros, shares in found.values())
    y = Axis("queries (%)", 0, high * 1.05 or 1.0, nice_ticks(0, high * 1.05, count=4))
    charts = []
    for method, (zeros, shares) in found.items():
        # The zeros stand apart, left of the others.
        bars = [(-1.6 / IOU_BINS, -0.6 / IOU_BINS, zeros, f"m-{method} none")]
        bars += [(i / IOU_BINS, (i + 1) / IOU_BINS, share, f"m-{method}") for i, share in enumerate(shares.tolist())]
        iou = group.ious(method)
        mean, median = 100 * iou.mean(), 100 * np.median(iou)
        svg = bar_chart(
            bars,
            x=Axis("IoU of the first span", -2 / IOU_BINS, 1, _IOU_TICKS, ["none", ".2", ".4", ".6", ".8", "1"]),
            y=y,
            title=f"Distribution of IoU, {title_of(method)}",
            description=f"{zeros:.0f} percent do not overlap; mean {mean:.0f}, median {median:.0f} percent.",
        )
        rows = [["no overlap", f"{zeros:.1f}"]] + [
            [f"{i / IOU_BINS:.2f}–{(i + 1) / IOU_BINS:.2f}", f"{share:.1f}"] for i, share in enumerate(shares)
        ]
        note = f"No overlap {zeros:.1f} % · median {median:.1f} % · mean {mean:.1f} %"
        charts.append(Chart(title_of(method), svg, ["IoU", "queries (%)"], rows, note, method))
    return charts


def recall_charts(group: Group, *, words: Float[np.ndarray, " Q"]) -> list[Chart]:
    """Recall by moment length, position in the video, video length and words of the query."""
    queries = group.queries
    start, end = (queries[f"clamped_{name}_sec"].to_numpy(np.float64) for name in ("start", "end"))
    duration = queries["duration_sec"].to_numpy(np.float64)
    bins = {
        "Moment length": quantile_bins(end - start, unit="seconds"),
        "Share of the video": share_bins((end - start) / duration, unit="% of the video"),
        "Position of the middle": share_bins((start + end) / 2 / duration, unit="% of the video"),
        "Video length": quantile_bins(duration, unit="seconds"),
        "Words in the query": quantile_bins(words, unit="words", whole=True),
    }
    return [_binned_chart(group, name, own) for name, own in bins.items() if own.labels]


def _binned_chart(group: Group, name: str, bins: Bins) -> Chart:
    video_ids = group.queries["video_id"].tolist()
    scores = {method: recall_by_bin(group.hits(method, THRESHOLD), bins, video_ids=video_ids) for method in group.runs}
    methods = len(scores)
    lines = []
    for i, (method, own) in enumerate(scores.items()):
        shift = (i - (methods - 1) / 2) * min(0.12, 0.7 / methods)
        points = [(at + shift, None if score is None else score.value) for at, score in enumerate(own)]
        ranges = [None if score is None else score.limits for score in own]
        lines.append(Line(title_of(method), f"m-{method}", points, ranges, marked=True))
    counts = bins.counts()
    header = [bins.unit, "queries", *(title_of(method) for method in scores)]
    rows = [
        [label, f"{counts[i]:,}", *(_score_text(own[i]) for own in scores.values())]
        for i, label in enumerate(bins.labels)
    ]
    unknown = int((bins.member < 0).sum())
    best = list(scores)[-1]
    description = f"{title_of(best)}, percent: " + "; ".join(
        f"{label} {bins.unit}: {'none' if score is None else f'{score.value:.1f}'}"
        for label, score in zip(bins.labels, scores[best], strict=True)
    )
    return Chart(
        name,
        line_chart(
            lines,
            x=Axis(bins.unit, -0.5, len(counts) - 0.5, list(range(len(counts))), list(bins.labels)),
            y=Axis(f"R@1, IoU ≥ {THRESHOLD} (%)", 0, 100, _PERCENT),
            title=f"Recall by: {name.lower()}",
            description=description,
        ),
        header,
        rows,
        "Queries: " + " · ".join(map("{:,}".format, counts)) + (f" ({unknown:,} unknown)" if unknown else ""),
    )


def _score_text(score: BinScore | None) -> str:
    if score is None:
        return "–"
    return f"{score.value:.1f}" + (" [{:.1f}, {:.1f}]".format(*score.limits) if score.limits else "")


def bias_charts(group: Group) -> list[Chart]:
    """Where moments lie and where first spans fall: start against end, as shares of the video."""
    queries = group.queries
    duration = queries["duration_sec"].to_numpy(np.float64)
    cells = 10 if len(queries) < _FEW_QUERIES else 20
    truth = queries[["clamped_start_sec", "clamped_end_sec"]].to_numpy(np.float64)
    maps = {"truth": span_density(truth, duration, cells=cells)}
    for method, runs in group.runs.items():
        spans = np.concatenate([run.span_sec for run in runs])
        maps[method] = span_density(spans, np.tile(duration, len(runs)), cells=cells)
    peak = max(float(density.max()) for density in maps.values())
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    charts = []
    for name, density in maps.items():
        title = "Ground truth" if name == "truth" else title_of(name)
        i, j = np.unravel_index(int(density.argmax()), density.shape)
        description = (
            f"Most, {density.max():.1f} percent, start at {i / cells:.2f} to {(i + 1) / cells:.2f} and end at "
            f"{j / cells:.2f} to {(j + 1) / cells:.2f} of the video."
            if density.any()
            else "Nothing is known."
        )
        overlap = 0.5 * float(np.abs(density - maps["truth"]).sum())
        note = "" if name == "truth" else f"{overlap:.0f} % would have to move to lie as the ground truth does"
        svg = cell_map(
            density.tolist(),
            peak=peak,
            key=f"m-{name}",
            title=f"Where spans lie, {title}",
            description=description,
            x=Axis("start (share of the video)", 0, 1, ticks, ["0", ".25", ".5", ".75", "1"]),
            y=Axis("end", 0, 1, ticks, ["0", ".25", ".5", ".75", "1"]),
        )
        charts.append(Chart(title, svg, note=note, method="" if name == "truth" else name))
    return charts
