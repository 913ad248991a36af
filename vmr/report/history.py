"""Charts of training: loss and validation of every run."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vmr.methods.catalogue import title_of
from vmr.report.charts import Chart
from vmr.report.svg import Axis, Line, line_chart, nice_ticks

# By method: seed, history and chosen epoch of every run.
Histories = Mapping[str, Sequence[tuple[int, pd.DataFrame, int | None]]]


def history_charts(histories: Histories) -> list[Chart]:
    """Training loss, validation loss and validation mIoU of every run; a ring at the chosen epoch."""
    measures = {
        "loss": ("Training loss", "loss"),
        "validation_loss": ("Validation loss", "loss"),
        "mIoU": ("Validation mIoU", "mIoU (%)"),
    }
    return [
        chart
        for column, (title, label) in measures.items()
        if (chart := _history_chart(histories, column, title=title, label=label)) is not None
    ]


def _history_chart(histories: Histories, column: str, *, title: str, label: str) -> Chart | None:
    lines, rows, highest = [], [], 1.0
    values: list[float] = []
    for method, runs in histories.items():
        for seed, table, chosen in runs:
            if column not in table or table.empty:
                continue
            known = table[np.isfinite(table[column].astype(float))]
            points = list(zip(known["epoch"].astype(float), known[column].astype(float), strict=True))
            if not points:
                continue
            ring = next((point for point in points if chosen is not None and point[0] == chosen), None)
            lines.append(Line(f"{title_of(method)}, seed {seed}", f"m-{method} thin", points, ring=ring))
            values += [value for _, value in points]
            highest = max(highest, points[-1][0])
            at_ring = "–" if ring is None else f"{ring[1]:.2f}"
            rows.append(
                [
                    title_of(method),
                    str(seed),
                    f"{points[-1][0]:.0f}",
                    f"{points[-1][1]:.2f}",
                    str(chosen or "–"),
                    at_ring,
                ]
            )
    if not lines:
        return None
    low, high = min(values), max(values)
    pad = 0.05 * (high - low) or 0.5
    low, high = low - pad, high + pad
    return Chart(
        title,
        line_chart(
            lines,
            x=Axis("epoch", min(1.0, highest - 1), highest, nice_ticks(1, highest, count=5) or [1]),
            y=Axis(label, low, high, nice_ticks(low, high, count=5)),
            title=title,
            description="; ".join(f"{row[0]}, seed {row[1]}: {row[3]} after {row[2]} epochs" for row in rows[:8]),
        ),
        ["method", "seed", "epochs", "last", "chosen epoch", "there"],
        rows,
    )
