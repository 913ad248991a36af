"""The stage `parse_annotations`: annotation files of a dataset to one table of moments and a report."""

import itertools
import json
import logging
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from vmr.annotations.charades_sta import read_durations
from vmr.annotations.moments import moments_table, read_moments, write_moments
from vmr.annotations.parsed import ParsedFile, Problem
from vmr.annotations.read import FORMATS, read_annotations
from vmr.annotations.units import too_long, wrong_unit
from vmr.config.datasets import DatasetSettings
from vmr.errors import AnnotationError
from vmr.storage.files import write_json, writing
from vmr.video_ids import VideoNames

logger = logging.getLogger(__name__)

_COUNTS = ("lines", "queries", "videos", "videos_kept", "degenerate", "malformed", "past_end")
_SHOWN = 20  # problems that are logged one by one; the report holds all


def parse_annotations(
    *,
    annotation_format: str,
    annotations: dict[str, list[Path]],
    durations: list[Path],
    output: Path,
    report: Path,
    expected: dict[str, dict[str, int]] | None = None,
    train_split: str = "train",
    accept_wrong: bool = False,
) -> None:
    """Parse the annotations of a dataset and check the counts against the known ones.

    Args:
        annotations: files by split; several files of a split are read one after the other. A CSV, and JSON that says
            which sentence belongs to which split, may be named for several.
        durations: CSV files with columns `id` and `length` in seconds; may be empty. The annotations' own
            durations come first.
        expected: known counts by split: lines, queries (kept), videos (named in well-formed lines), videos_kept
            (with a query kept), degenerate, malformed, past_end (well-formed lines that end after their video). A
            difference is a warning and a line of the report, not an error: other editions of a file are legitimate.
        train_split: the split that is trained on; only asked for a CSV that must be divided.
        accept_wrong: go on, with a warning, where the times of a split cannot be seconds.

    Raises:
        AnnotationError: a file is missing or not in the format, nothing usable is left, most moments of a split begin
            after their video ends, or the options are wrong.
        ShardError: the table or the report cannot be written.
    """
    if annotation_format not in FORMATS:
        raise AnnotationError(f"annotation_format is {annotation_format!r}; one of {', '.join(FORMATS)} was expected.")
    if not any(annotations.values()):
        raise AnnotationError("no annotation files are named; give at least one split with one file in config.yaml.")
    _check_expected(expected or {}, splits=list(annotations))
    parsed = read_annotations(annotations, annotation_format=annotation_format, train_split=train_split)
    seconds, problems = _collect_durations(parsed, durations)
    table = _moments_table(parsed, seconds)
    if table.empty:
        raise AnnotationError(
            "no usable query is left: every span starts at or after its end. Check the order of the columns."
        )
    _check_units(table, seconds, accept=accept_wrong)
    splits = {split: _split_report(files, seconds) for split, files in parsed.items()}
    for split, files in annotations.items():
        splits[split]["files"] = [str(file) for file in files]
    _log_splits(splits, problems)
    write_moments(table, output)
    content = {
        "annotation_format": annotation_format,
        "queries": len(table),
        "videos": int(table["video_id"].nunique()),
        "videos_without_duration": sorted(table.loc[table["duration_sec"].isna(), "video_id"].unique()),
        "videos_in_several_splits": _shared_videos(parsed),
        "duration_problems": [asdict(problem) for problem in problems],
        "splits": splits,
        "comparison": _compare(splits, expected or {}),
    }
    with writing(report):
        write_json(report, content)


def parsed_of(dataset: DatasetSettings) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of moments and the report of a dataset's annotation files, whatever their unit.

    Nothing is left behind or warned of: the report says it, or the job that parses them.

    Raises:
        AnnotationError: as `parse_annotations`.
    """
    logger = logging.getLogger("vmr.annotations")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as folder:
            moments, report = Path(folder) / "moments.csv", Path(folder) / "report.json"
            parse_annotations(
                annotation_format=dataset.annotation_format,
                annotations={split: [Path(file) for file in own] for split, own in dataset.annotations.items()},
                durations=[Path(file) for file in dataset.durations],
                train_split=dataset.train_split,
                accept_wrong=True,
                output=moments,
                report=report,
            )
            return read_moments(moments), json.loads(report.read_text(encoding="utf-8"))
    finally:
        logger.setLevel(before)


def _check_expected(expected: dict[str, dict[str, int]], *, splits: list[str]) -> None:
    for split, counts in expected.items():
        unknown = sorted(set(counts) - set(_COUNTS))
        if split not in splits:
            raise AnnotationError(f"expected counts name the split {split!r}; the splits are {', '.join(splits)}.")
        if unknown:
            raise AnnotationError(f"expected counts of {split} name {unknown[0]!r}; known are {', '.join(_COUNTS)}.")


def _collect_durations(
    parsed: dict[str, list[ParsedFile]], files: list[Path]
) -> tuple[dict[str, float], list[Problem]]:
    listed, told = read_durations(files), ParsedFile()
    for split, split_files in parsed.items():
        for file in split_files:
            for video_id, duration in file.durations.items():
                told.take_duration(video_id, duration, where=split)
    names = VideoNames({query.video_id for own in parsed.values() for file in own for query in file.queries})
    for name, duration in listed.durations.items():
        told.durations.setdefault(names.find(name) or name, duration)
    return told.durations, listed.malformed + told.malformed


def _moments_table(parsed: dict[str, list[ParsedFile]], seconds: dict[str, float]) -> pd.DataFrame:
    # Keys are unique within a file only; a second file of a split gets its number.
    return moments_table(
        [
            (split, split if number == 1 else f"{split}.{number}", query)
            for split, files in parsed.items()
            for number, file in enumerate(files, start=1)
            for query in file.queries
        ],
        seconds,
    )


def _check_units(table: pd.DataFrame, seconds: dict[str, float], *, accept: bool) -> None:
    for split, rows in table.groupby("split", sort=False):
        if reason := wrong_unit(rows, seconds):
            text = f"{split}: {reason}. Give the times in seconds, or in a column whose header names the unit"
            if not accept:
                raise AnnotationError(f"{text}; --accept-wrong goes on all the same.")
            logger.warning("%s.", text)
        elif reason := too_long(rows):
            logger.warning("%s: %s.", split, reason)


def _split_report(files: list[ParsedFile], seconds: dict[str, float]) -> dict[str, Any]:
    kept = [query for file in files for query in file.queries]
    degenerate = [query for file in files for query in file.degenerate]
    named = kept + degenerate
    over = [query.end_sec - seconds.get(query.video_id, math.inf) for query in named]
    past = [excess for excess in over if excess > 0]
    return {
        "lines": sum(file.lines for file in files),
        "queries": len(kept),
        "videos": len({query.video_id for query in named}),
        "videos_kept": len({query.video_id for query in kept}),
        "degenerate": [
            {"where": query.where, "reason": f"starts at {query.start_sec} s but ends at {query.end_sec} s"}
            for query in degenerate
        ],
        "malformed": [asdict(problem) for file in files for problem in file.malformed],
        "past_end": {
            "count": len(past),
            "max_sec": round(max(past, default=0.0), 6),
            "empty_when_clamped": [
                query.where for query in kept if query.start_sec >= seconds.get(query.video_id, math.inf)
            ],
        },
    }


def _shared_videos(parsed: dict[str, list[ParsedFile]]) -> dict[str, int]:
    videos = {split: {query.video_id for file in files for query in file.queries} for split, files in parsed.items()}
    shared = {f"{a}+{b}": len(videos[a] & videos[b]) for a, b in itertools.combinations(videos, 2)}
    return {pair: count for pair, count in shared.items() if count}


def _compare(splits: dict[str, dict[str, Any]], expected: dict[str, dict[str, int]]) -> dict[str, Any]:
    comparison: dict[str, Any] = {}
    for split, counts in expected.items():
        comparison[split] = {}
        for name, known in counts.items():
            found = _count(splits[split][name])
            comparison[split][name] = {"expected": known, "found": found, "equal": found == known}
            if found == known:
                logger.info("%s: %s is %d, as known", split, name, found)
            else:
                logger.warning("%s: %s is %d, but %d is known; another edition of the file?", split, name, found, known)
    return comparison


def _count(value: Any) -> int:
    if isinstance(value, list):
        return len(value)
    return int(value["count"] if isinstance(value, dict) else value)


def _log_splits(splits: dict[str, dict[str, Any]], problems: list[Problem]) -> None:
    for split, content in splits.items():
        logger.info(
            "%s: %d lines, %d queries kept in %d videos, %d degenerate, %d malformed, %d past the end (up to %.2f s)",
            split,
            content["lines"],
            content["queries"],
            content["videos_kept"],
            len(content["degenerate"]),
            len(content["malformed"]),
            content["past_end"]["count"],
            content["past_end"]["max_sec"],
        )
        for kind in ("degenerate", "malformed"):
            for problem in content[kind][:_SHOWN]:
                logger.warning("%s, %s: %s", problem["where"], kind, problem["reason"])
    for listed in problems[:_SHOWN]:
        logger.warning("%s: %s", listed.where, listed.reason)
