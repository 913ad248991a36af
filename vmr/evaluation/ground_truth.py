"""Ground truth for predictions of any system, from annotation files alone: no videos, features or runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vmr.annotations.charades_sta import read_durations
from vmr.annotations.moments import clamp_spans, moments_table, read_moments, video_durations
from vmr.annotations.parsed import ParsedFile, Problem, Query, settle_video_ids
from vmr.annotations.read import detect_format, read_file
from vmr.annotations.units import wrong_unit
from vmr.errors import EvaluationError
from vmr.evaluation.query_finder import KnownQuery, QueryFinder, finder_of_moments
from vmr.names import SPLIT_NAME
from vmr.video_ids import VideoNames


@dataclass(frozen=True)
class GroundTruth:
    """The queries to score, and what lines of predictions may name."""

    queries: pd.DataFrame  # the columns of `clamp_spans` for every query that is scored
    finder: QueryFinder  # knows these and the moments without length, which are not scored
    facts: list[dict[str, Any]]  # what was read: file, format, split, and numbers of queries, for the record
    malformed: list[Problem]  # entries of the annotations that cannot be used
    bad_durations: list[Problem]  # rows of the files of durations that cannot be used


def load_ground_truth(
    annotations: Sequence[str],
    *,
    annotation_format: str = "auto",
    durations: Sequence[Path] = (),
    splits: Sequence[str],
) -> GroundTruth:
    """Read annotation files of one or several splits.

    Ids of queries are ``split:key``. The key is the number of the line from 1 (Charades-STA; CSV, where no query_id
    is given) or ``video:index`` with the place of the sentence from 0 (ActivityNet Captions); the split is the name
    given before the file, or the name of the file without its suffix. A table of moments has ids and splits of its
    own, a CSV may have.

    Args:
        annotations: paths, or ``split=path``.
        durations: CSV files with columns `id` and `length` (seconds), for videos whose annotations give none.
        splits: the splits of a table of moments or a CSV that are scored; may be empty where it holds only one.

    Raises:
        EvaluationError: two files have the same split, the splits to score are not clear, or no query is left.
        AnnotationError: a file is missing or not in its format.
    """
    listed = read_durations(durations)
    tables, known, facts = [], [], []
    malformed: list[Problem] = []
    named = [_split_and_path(entry) for entry in annotations]
    kinds = [detect_format(path) if annotation_format == "auto" else annotation_format for _, path in named]
    parsed = [
        {} if kind == "moments" else read_file(path, annotation_format=kind, name=name)
        for (name, path), kind in zip(named, kinds, strict=True)
    ]
    settle_video_ids(part for parts in parsed for part in parts.values())
    for (_, path), kind, parts in zip(named, kinds, parsed, strict=True):
        if kind == "moments":
            table = read_moments(path)
            found = finder_of_moments(table).queries
            fact: dict[str, Any] = {"splits": sorted(set(table["split"])), "queries": len(table)}
        else:
            each = [
                moments_table([(split, split, own) for own in part.queries], part.durations)
                for split, part in parts.items()
            ]
            table = pd.concat(each, ignore_index=True)
            malformed += [problem for part in parts.values() for problem in part.malformed]
            found = [query for split, part in parts.items() for query in _known(part, split)]
            fact = {
                "splits": list(parts),
                "queries": len(table),
                "not_scored": sum(len(part.degenerate) for part in parts.values()),
                "malformed": sum(len(part.malformed) for part in parts.values()),
            }
        tables.append(table)
        known += found
        facts.append({"file": str(path), "format": kind, **fact})
    table = pd.concat(tables, ignore_index=True)
    files = ", ".join(fact["file"] for fact in facts)
    _check_unique(table, files)
    # One duration a video, as when annotations are parsed: the first that they give, else the list's.
    names = VideoNames(table["video_id"].unique())
    listed_sec = {names.find(name) or name: seconds for name, seconds in listed.durations.items()}
    durations_sec = listed_sec | video_durations(table)
    table["duration_sec"] = table["video_id"].map(durations_sec).astype(float)
    finder = QueryFinder(known)
    queries = _selected(table, list(splits), facts, files)
    if reason := wrong_unit(queries, durations_sec):
        raise EvaluationError(f"{files}: {reason}. Convert the times to seconds.")
    scored = clamp_spans(queries, durations_sec)
    return GroundTruth(scored, finder, facts, malformed, listed.malformed)


def _split_and_path(entry: str) -> tuple[str, Path]:
    name, separator, path = entry.partition("=")
    if separator and path and SPLIT_NAME.fullmatch(name) and not Path(entry).exists():
        return name, Path(path)
    return Path(entry).stem, Path(entry)


def _known(parsed: ParsedFile, split: str) -> list[KnownQuery]:
    """All queries of a file, moments without length included: places are counted as the file has them."""
    scored = {own.key for own in parsed.queries}
    everything = sorted([*parsed.queries, *parsed.degenerate], key=lambda own: own.number)
    places: dict[str, int] = {}

    def place(own: Query) -> int:
        head, _, tail = own.key.rpartition(":")
        if head == own.video_id and tail.isdigit():  # the place is told
            return int(tail)
        places[own.video_id] = places.get(own.video_id, -1) + 1
        return places[own.video_id]

    return [
        KnownQuery(
            f"{split}:{own.key}",
            own.key,
            own.video_id,
            split,
            place(own),
            own.sentence,
            is_scored=own.key in scored,
            is_named=own.is_named,
        )
        for own in everything
    ]


def _check_unique(table: pd.DataFrame, files: str) -> None:
    twice = table["query_id"][table["query_id"].duplicated()]
    if len(twice):
        raise EvaluationError(
            f"{files}: the query {twice.iloc[0]} is in more than one of the files. Give each file once, or name the "
            "splits: --annotations val_1=FILE --annotations val_2=FILE."
        )


def _selected(table: pd.DataFrame, splits: list[str], facts: list[dict[str, Any]], files: str) -> pd.DataFrame:
    there = list(dict.fromkeys(table["split"]))
    if not there:
        raise EvaluationError(f"{files}: no query is left to score: every moment ends where it starts, or before.")
    if not splits:
        crowded = [fact for fact in facts if len(fact["splits"]) > 1]
        if crowded:
            raise EvaluationError(
                f"{crowded[0]['file']}: holds the splits {', '.join(crowded[0]['splits'])}. Name those to score, each "
                "with --splits."
            )
        splits = there
    for split in splits:
        if split not in there:
            raise EvaluationError(f"{files}: no queries in the split {split}; there are: {', '.join(there)}.")
    return table[table["split"].isin(splits)].reset_index(drop=True)
