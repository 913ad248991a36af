"""The table of moments: one row a query, whatever format the annotations came in."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vmr.annotations.parsed import Query, Window
from vmr.errors import AnnotationError
from vmr.storage.records import read_table, write_table

# A table in which a sentence has several windows has a column more, see `windows_of`.
WINDOWS = "windows"
MOMENT_COLUMNS = ["query_id", "video_id", "split", "start_sec", "end_sec", "duration_sec", "sentence"]
_NUMBER_COLUMNS = ["start_sec", "end_sec", "duration_sec"]

_AGAIN = "Run parse_annotations, or name the file that it wrote."


def write_moments(moments: pd.DataFrame, path: Path) -> None:
    """Write the table atomically as CSV; `read_moments` gives back the same values bit for bit.

    Args:
        moments: a table with at least `MOMENT_COLUMNS`; spans in seconds, raw, with start < end.

    Raises:
        ShardError: the disk is full or the folder cannot be written.
    """
    write_table(path, moments[[*MOMENT_COLUMNS, *([WINDOWS] if WINDOWS in moments else [])]])


def read_moments(path: Path) -> pd.DataFrame:
    """Read a table of moments.

    Returns:
        `MOMENT_COLUMNS`, and `WINDOWS` where the file has it; ids, split and sentence as `str` (also ``"007"``
        and ``"nan"``), seconds as float64, with NaN for an unknown duration.

    Raises:
        AnnotationError: the file is missing, cannot be read, or is not such a table.
    """
    table = read_table(path, what="table of moments", columns=MOMENT_COLUMNS, again=_AGAIN, error=AnnotationError)
    table = table[[*MOMENT_COLUMNS, *([WINDOWS] if WINDOWS in table else [])]].copy()
    for column in _NUMBER_COLUMNS:
        try:
            table[column] = table[column].replace("", "nan").astype(np.float64)
        except ValueError as error:
            raise AnnotationError(f"{path}: column {column} must hold seconds ({error}).") from error
    bad = table[~np.isfinite(table["start_sec"]) | ~np.isfinite(table["end_sec"])]
    if len(bad):
        raise AnnotationError(f"{path}: query {bad['query_id'].iloc[0]} has no start or end in seconds.")
    twice = table["query_id"][table["query_id"].duplicated()]
    if len(twice):
        raise AnnotationError(f"{path}: query_id {twice.iloc[0]} appears twice; ids must be unique in a dataset.")
    return table


def moments_table(queries: Iterable[tuple[str, str, Query]], seconds: Mapping[str, float]) -> pd.DataFrame:
    """The table of moments of some queries, each with its split and the prefix of its id."""
    rows = [
        (
            f"{prefix}:{query.key}",
            query.video_id,
            split,
            query.start_sec,
            query.end_sec,
            seconds.get(query.video_id, float("nan")),
            query.sentence,
            json.dumps(query.windows) if query.windows else "",
        )
        for split, prefix, query in queries
    ]
    table = pd.DataFrame(rows, columns=[*MOMENT_COLUMNS, WINDOWS])
    return table if table[WINDOWS].any() else table[MOMENT_COLUMNS]


def windows_of(moments: pd.DataFrame, *, column: str = WINDOWS) -> dict[str, list[Window]]:
    """All windows of each query in seconds, by query id: its single span, or what the column `windows` lists.

    Raises:
        AnnotationError: a cell of that column is no list of windows.
    """
    columns = (moments[name] for name in ("query_id", "start_sec", "end_sec"))
    cells = moments[column] if column in moments else [""] * len(moments)
    windows: dict[str, list[Window]] = {}
    for query_id, start, end, cell in zip(*columns, cells, strict=True):
        try:
            listed = [(float(one[0]), float(one[1])) for one in json.loads(cell)] if cell else []
        except (ValueError, TypeError, LookupError) as error:
            raise AnnotationError(
                f"query {query_id}: `{WINDOWS}` holds [[start, end], ...] in seconds, found {cell!r}."
            ) from error
        windows[query_id] = listed or [(float(start), float(end))]
    return windows


def video_durations(moments: pd.DataFrame, manifest: pd.DataFrame | None = None) -> dict[str, float]:
    """Duration of each video whose duration is known, in seconds.

    Args:
        moments: the table of moments; its duration comes first, since the spans were drawn against it.
        manifest: the video manifest, whose probed duration serves where the annotations give none.

    Returns:
        Seconds by video id, in the order of first appearance; unknown ones are absent.
    """
    durations: dict[str, float] = {}
    tables = [moments] if manifest is None else [moments, manifest]
    named = set(moments["video_id"])
    for table in tables:
        known = table[(table["duration_sec"] > 0) & np.isfinite(table["duration_sec"].astype(float))]
        for video_id, seconds in zip(known["video_id"], known["duration_sec"], strict=True):
            if video_id in named:
                durations.setdefault(str(video_id), float(seconds))
    return durations


def clamp_spans(moments: pd.DataFrame, durations: Mapping[str, float]) -> pd.DataFrame:
    """Add the columns clamped_start_sec and clamped_end_sec: the spans cut to [0, duration].

    A span that begins after the end of its video becomes empty (start = end = duration); whoever trains on spans
    drops and counts those. A video of unknown duration keeps its spans.

    Returns:
        A copy with the two columns added, and the column `clamped_windows` where there is `windows`; the raw ones are
        as they were.
    """
    limit = moments["video_id"].map(dict(durations)).astype(np.float64).fillna(np.inf).to_numpy()
    clamped = moments.copy()
    for name in ("start", "end"):
        raw = moments[f"{name}_sec"].to_numpy(np.float64)
        clamped[f"clamped_{name}_sec"] = np.clip(raw, 0.0, limit)
    if WINDOWS in moments:
        clamped[f"clamped_{WINDOWS}"] = [
            json.dumps([[min(start, most), min(end, most)] for start, end in windows])
            for windows, most in zip(windows_of(moments).values(), limit.tolist(), strict=True)
        ]
    return clamped


def validation_videos(video_ids: Iterable[str], *, fraction: float = 0.1) -> set[str]:
    """Choose the training videos that are held out for validation: those with the smallest hashes of their ids.

    Not in the paper: chosen because a fixed choice by hash does not depend on the order of the files or on a
    random generator, and because whole videos must be held out, not single queries.

    Args:
        fraction: share to hold out, in [0, 1).

    Returns:
        The ``ceil(fraction * n)`` smallest hashes; at least 1 when there are 2 videos, never all of them.

    Raises:
        ValueError: `fraction` is outside [0, 1).

    >>> len(validation_videos((f"video{i}" for i in range(30)), fraction=0.1))
    3
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the validation fraction must be in [0, 1), not {fraction}")
    ranked = sorted(set(video_ids), key=lambda name: (hashlib.sha256(f"0:{name}".encode()).digest(), name))
    # 0.1 * 30 is 3.0000000000000004 in floating point: without rounding, ceil would give 4.
    wanted = max(1, math.ceil(round(fraction * len(ranked), 6)))
    return set(ranked[: min(wanted, max(0, len(ranked) - 1))])
