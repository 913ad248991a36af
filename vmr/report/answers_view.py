"""Every query's answers: as a file that other programs read, and as a table of the page where they are few."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vmr.methods.catalogue import title_of
from vmr.report.run_answers import Group
from vmr.storage.files import atomic_path

MOST_CELLS = 4000  # answers that the page itself shows


def answers_view(group: Group) -> dict[str, Any]:
    """The answers of a group as the page shows them; no rows where they are too many for it.

    A cell has the span of a method's first seed, and the mean IoU of all.
    """
    methods = [title_of(name) for name in group.runs]
    number = len(group.queries)
    if number * len(methods) > MOST_CELLS:
        return {"queries": number, "methods": methods, "rows": []}
    ious = {name: group.ious(name).mean(axis=0) for name in group.runs}
    columns = [group.queries[name] for name in ("sentence", "video_id", "start_sec", "end_sec")]
    rows = [
        {
            "sentence": str(sentence),
            "video_id": str(video_id),
            "truth": span_text((start, end)),
            "cells": [
                {"span": span_text(own[0].span_sec[i]), "iou": float(ious[name][i])} for name, own in group.runs.items()
            ],
        }
        for i, (sentence, video_id, start, end) in enumerate(zip(*columns, strict=True))
    ]
    return {"queries": number, "methods": methods, "rows": rows}


def write_answers(groups: Sequence[Group], path: Path) -> None:
    """Write the first span of every run to every query: a CSV with a row an answer, empty where there is none."""
    tables = []
    for group in groups:
        queries = group.queries[["query_id", "video_id", "sentence", "start_sec", "end_sec"]].reset_index(drop=True)
        for name, runs in group.runs.items():
            for run in runs:
                answer = queries.assign(
                    answer_start_sec=run.span_sec[:, 0], answer_end_sec=run.span_sec[:, 1], iou=run.iou.round(4)
                )
                run_of = {"split": group.split, "features": group.features, "method": title_of(name), "seed": run.seed}
                tables.append(pd.DataFrame(run_of, index=answer.index).join(answer))
    with atomic_path(path) as temporary:
        pd.concat(tables).to_csv(temporary, index=False, float_format="%.3f", lineterminator="\n")


def span_text(span: Sequence[float] | np.ndarray | None) -> str:
    """Start and end for people."""
    return "no answer" if span is None or not np.isfinite(span).all() else f"{span[0]:.1f}–{span[1]:.1f} s"
