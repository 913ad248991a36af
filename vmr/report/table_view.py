"""The table as the page shows it: rows with spread and intervals, and the text below it."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import markdown

from vmr.errors import EvaluationError
from vmr.evaluation.bootstrap import intervals
from vmr.evaluation.metrics import recall_name
from vmr.methods.catalogue import with_rows
from vmr.report.charts import Chart, Window
from vmr.report.svg import Axis, IntervalRow, interval_chart, nice_ticks
from vmr.tables.rows import SCORE_COLUMNS, Row, best_scores, is_best
from vmr.tables.text import oracle_text

_LINKS = (
    *("reference", "link", "image_link", "image_reference", "short_reference", "short_image_ref"),
    *("autolink", "automail"),
)


def table_view(rows: Sequence[Row]) -> dict[str, Any]:
    """Columns of scores, and rows with their intervals; the best computed score of each split is marked.

    `oracles`: whether any row chooses among candidates, so that there is a column of the best of them.
    """
    shown = [row for row in rows if row.headline]
    best = best_scores(shown)
    several = len({row.split for row in shown if row.kind != "published"}) > 1
    views = [_row(row, best, several=several) for row in shown]
    return {"columns": list(SCORE_COLUMNS), "rows": views, "oracles": any(view["oracle"] for view in views)}


def score_charts(rows: Sequence[Row]) -> list[tuple[str, list[Chart]]]:
    """For every split a chart a measure: computed rows with their intervals over test videos."""
    splits = dict.fromkeys(row.split for row in rows if row.kind == "trained")
    return [(split, [_score_chart(rows, split, column) for column in SCORE_COLUMNS]) for split in splits]


def windows_of(rows: Sequence[Row]) -> dict[str, Window]:
    """By split the constant window that is best at IoU 0.5 on the training moments."""
    found = {}
    for row in rows:
        if row.kind == "baseline" and recall_name(1, 0.5) in row.criteria:
            low, high = row.window.strip("[]").split(",")
            found[row.split] = Window(float(low), float(high))
    return found


def text_of_table(path: Path) -> str:
    """The sections of the readable table below its rows, as HTML; text that looks like HTML stays text.

    Raises:
        EvaluationError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: the readable table cannot be read ({error}). Make it again.") from error
    _, _, below = text.partition("\n## ")
    if not below:
        return ""
    # One level lower than the page's own headings.
    escaped = html.escape("## " + below, quote=False).replace("\n## ", "\n#### ").replace("## ", "#### ", 1)
    converter = markdown.Markdown(extensions=["tables", "sane_lists"], output_format="html")
    # Nothing that names suggest may lead out of the page.
    for pattern in _LINKS:
        converter.inlinePatterns.deregister(pattern)
    return str(converter.convert(escaped))


def _key(row: Row, other: str) -> str:
    """The class of a row's method, published rows of a method of ours among them."""
    return next((f"m-{name}" for name, method in with_rows().items() if method.title == row.method), other)


def _intervals(row: Row) -> dict[str, list[float]]:
    return (intervals(row.videos.sums["raw"], queries=row.videos.queries) if row.videos else None) or {}


def _row(row: Row, best: dict[tuple[str, str], float], *, several: bool) -> dict[str, Any]:
    """A row in words, with the head of the block that it stands in."""
    found = _intervals(row)
    cells = []
    for metric in SCORE_COLUMNS.values():
        value, std = row.scores.get(metric), row.std.get(metric)
        cells.append(
            {
                "value": "–" if value is None else f"{value:.2f}",
                "std": "" if std is None else f"± {std:.2f}",
                "interval": "{:.1f}–{:.1f}".format(*found[metric]) if metric in found else "",
                "best": is_best(row, metric, best),
            }
        )
    return {
        "head": row.block.capitalize() + (f", {row.split}" if several and row.kind != "published" else ""),
        "kind": row.kind,
        "method": row.method,
        "key": _key(row, ""),
        "features": row.features,
        "source": row.source,
        "split": row.split,
        "cells": cells,
        "oracle": oracle_text(row),
        "seeds": "" if row.seeds is None else str(row.seeds),
        "queries": "" if row.queries is None else f"{row.queries:,}",
        "coverage": "" if row.coverage is None else f"{row.coverage:.1f}",
    }


def _score_chart(rows: Sequence[Row], split: str, column: str) -> Chart:
    metric = SCORE_COLUMNS[column]
    several = len({row.features for row in rows if row.kind == "trained" and row.split == split}) > 1
    marks: list[IntervalRow] = []
    head = ""
    for row in rows:
        value = row.scores.get(metric)
        if row.split != split or row.kind == "published" or not row.headline or value is None:
            continue
        if row.block != head:
            head = row.block
            marks.append((head.capitalize(), "", None, None))
        limits = _intervals(row).get(metric)
        name = f"{row.method}, {row.features}" if several and row.kind == "trained" else row.method
        name = name.replace("Best constant window", "Window")
        marks.append((name, _key(row, "m-window"), value, (limits[0], limits[1]) if limits else None))
    high = max([value for _, _, value, _ in marks if value is not None] + [limits[1] for *_, limits in marks if limits])
    high = min(100.0, 1.05 * high) or 1.0
    described = "; ".join(f"{name} {value:.1f}" for name, _, value, _ in marks if value is not None)
    svg = interval_chart(
        marks,
        x=Axis(f"{column} (%)", 0.0, high, nice_ticks(0, high, count=5)),
        title=f"{column} on {split}, with 95 percent intervals over test videos",
        description=described,
    )
    return Chart(column, svg)
