"""Rows of the table: published figures, baselines, and means over the seeds of a method."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmr.errors import EvaluationError
from vmr.evaluation.metrics import METRICS, recall_name

SCORE_COLUMNS = {
    "R1@0.7": recall_name(1, 0.7),
    "R1@0.5": recall_name(1, 0.5),
    "R1@0.3": recall_name(1, 0.3),
    "mIoU": "mIoU",
}
PUBLISHED_COLUMNS = ["method", "features", "source", "split", *SCORE_COLUMNS, "note"]
# In the order of the table: what sees only half, then the neighbours by their years, then the paper's own rows.
METHOD_TITLES = {
    "ci_mha_query_blind": "CI-MHA, query-blind",
    "ci_mha_video_blind": "CI-MHA, video-blind",
    "excl": "ExCL (ours)",
    "vslnet": "VSLNet (ours)",
    "lgi": "LGI (ours)",
    "mha": "MHA",
    "ci_mha_wo_ms": "CI-MHA w/o MS",
    "ci_mha": "CI-MHA",
}
# The window that is best at IoU 0.5 and the one that is best on average; the others are told below the table.
HEADLINE_CRITERIA = (recall_name(1, 0.5), "mIoU")
_FROM_METRICS = {metric: column for column, metric in SCORE_COLUMNS.items()}
_SETTINGS = ("features", "alignment", "selection", "trained")
_MUST_AGREE = ("queries", "covered")


@dataclass(frozen=True)
class Row:
    """One row of the table; scores in percent by name of `METRICS`, None where unknown."""

    method: str
    features: str
    source: str
    split: str
    kind: str  # "published", "baseline" or "trained"
    scores: dict[str, float | None]
    std: dict[str, float | None] = field(default_factory=dict)
    seeds: int | None = None
    queries: int | None = None
    coverage: float | None = None
    note: str = ""
    headline: bool = True  # False: only told below the table
    criteria: tuple[str, ...] = ()  # what a constant window was chosen by
    window: str = ""
    sets: dict[str, dict[str, float | None]] = field(
        default_factory=dict
    )  # means by "raw", "clamped", "raw_covered", ...
    half_width: dict[str, float | None] = field(default_factory=dict)  # of the interval over videos
    members: tuple[dict[str, Any], ...] = ()  # the metrics.json, or the baseline's file


def published_rows(path: Path) -> list[Row]:
    """Rows of a CSV of published figures, as printed.

    Args:
        path: CSV with the columns `PUBLISHED_COLUMNS`; an empty score was not printed.

    Raises:
        EvaluationError: the file is missing, has other columns, or a score is not a percentage.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            records = list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: the published figures cannot be read ({error}).") from error
    if reader.fieldnames != PUBLISHED_COLUMNS:
        raise EvaluationError(
            f"{path}: expected the columns {','.join(PUBLISHED_COLUMNS)}, found {','.join(reader.fieldnames or [])}."
        )
    rows = []
    for number, record in enumerate(records, start=2):
        if None in record or None in record.values():
            raise EvaluationError(f"{path}: row {number} has not {len(PUBLISHED_COLUMNS)} fields; quote commas.")
        scores = {
            metric: _percentage(record[column], where=f"{path}: row {number}: {column}")
            for column, metric in SCORE_COLUMNS.items()
        }
        rows.append(
            Row(
                method=record["method"],
                features=record["features"],
                source=record["source"],
                split=record["split"],
                kind="published",
                scores=scores,
                note=record["note"],
            )
        )
    return rows


def baseline_rows(paths: Sequence[Path]) -> list[Row]:
    """The random row and the constant windows of each split, as `compute_baselines` wrote them."""
    rows = []
    for path in paths:
        record = _read_json(path, needed=("split", "train_split", "queries", "rows"))
        for entry in record["rows"]:
            criteria = tuple(entry["criteria"])
            window = "" if entry["window"] is None else "[{:.2f}, {:.2f}]".format(*entry["window"])
            if not window:
                method, source = "Random", "computed here; expected value of two uniform points"
            else:
                method = f"Best constant window {window}"
                chosen = " and ".join(_FROM_METRICS[name] for name in criteria)
                source = f"computed here; chosen by {chosen} on {record['train_split']}"
            rows.append(
                Row(
                    method=method,
                    features="none",
                    source=source,
                    split=record["split"],
                    kind="baseline",
                    scores=dict(entry["scores"]["raw"]),
                    queries=record["queries"],
                    headline=not window or any(name in criteria for name in HEADLINE_CRITERIA),
                    criteria=criteria,
                    window=window,
                    sets={name: dict(own) for name, own in entry["scores"].items() if own},
                    half_width=_half_width([entry]),
                    members=(record,),
                )
            )
    return rows


def trained_rows(paths: Sequence[Path], *, dataset: str) -> list[Row]:
    """One row for each method, split and way of training: mean and sample standard deviation over seeds.

    Args:
        paths: metrics.json of every seed, method and split.
        dataset: the dataset that they must belong to.

    Raises:
        EvaluationError: a file is not such a record, belongs to another dataset, has the seed of another one, or
            its queries, coverage or settings differ from those that it would be averaged with.
    """
    records = []
    for path in paths:
        record = _read_json(
            path, needed=("dataset", "method", "features", "split", "seed", "queries", "covered", "scores")
        )
        if record["dataset"] != dataset:
            raise EvaluationError(
                f"{path}: these scores belong to the dataset {record['dataset']}, the table to {dataset}. "
                "Give the metrics of one dataset."
            )
        records.append({**record, "path": str(path)})
    rows = []
    for peers in _grouped(records, ("method", "split")):
        groups = _grouped(peers, _SETTINGS)
        # Complete runs with two extractors are two rows; the seeds of one run made half with each are a mistake.
        seeds = [{record["seed"] for record in group} for group in groups]
        for group, own in zip(groups, seeds, strict=True):
            if own != seeds[0]:
                _refuse(groups[0][0], group[0], _SETTINGS)
        for group in groups:
            rows.append(_mean_row(group))
    return rows


def check_queries(rows: Iterable[Row]) -> None:
    """Refuse rows of one split that were scored on different numbers of queries.

    Raises:
        EvaluationError: names the two rows, and their files where there are any.
    """
    first: dict[str, Row] = {}
    for row in rows:
        if row.queries is None:
            continue
        other = first.setdefault(row.split, row)
        if other.queries != row.queries:
            raise EvaluationError(
                f"split {row.split}: {_origin(other)} was scored on {other.queries} queries, {_origin(row)} on "
                f"{row.queries}. One of them is stale: evaluate both again from the same annotations."
            )


def _mean_row(group: list[dict[str, Any]]) -> Row:
    first = group[0]
    by_seed: dict[Any, dict[str, Any]] = {}
    for record in group:
        if any(record[name] != first[name] for name in _MUST_AGREE):
            _refuse(first, record, _MUST_AGREE)
        other = by_seed.setdefault(record["seed"], record)
        if other is not record:
            raise EvaluationError(
                f"{other['path']} and {record['path']}: both hold seed {record['seed']} of {first['method']} on "
                f"{first['split']}. Give each run once."
            )
    group = sorted(group, key=lambda record: str(record["seed"]).zfill(20))
    sets: dict[str, dict[str, float | None]] = {}
    for name in first["scores"]:
        if all(record["scores"].get(name) for record in group):
            sets[name] = {
                metric: statistics.fmean(record["scores"][name][metric] for record in group) for metric in METRICS
            }
    raw = [record["scores"]["raw"] for record in group]
    std = {metric: statistics.stdev(own[metric] for own in raw) if len(raw) > 1 else None for metric in METRICS}
    source = ["computed here"]
    if first.get("alignment"):
        source.append(f"alignment: {first['alignment']}")
    if first.get("selection") == "test":
        source.append("selection: test")
    if not first.get("trained", True):
        source.append("untrained: no training video has features")
    return Row(
        method=METHOD_TITLES.get(first["method"], str(first["method"])),
        features=str(first["features"]),
        source="; ".join(source),
        split=first["split"],
        kind="trained",
        scores=sets["raw"],
        std=std,
        seeds=len(group),
        queries=first["queries"],
        coverage=100.0 * first["covered"] / first["queries"],
        sets=sets,
        half_width=_half_width(group),
        members=tuple(group),
    )


def _half_width(records: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Half of the interval over videos against raw ground truth, averaged over the records; empty without any."""
    intervals = [(record.get("confidence") or {}).get("raw") for record in records]
    if not all(intervals):
        return {}
    return {metric: statistics.fmean((own[metric][1] - own[metric][0]) / 2 for own in intervals) for metric in METRICS}  # type: ignore[index]


def _grouped(records: Sequence[dict[str, Any]], names: Sequence[str]) -> list[list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(json.dumps([record.get(name) for name in names]), []).append(record)
    return list(groups.values())


def _refuse(one: dict[str, Any], other: dict[str, Any], names: Sequence[str]) -> None:
    name = next(name for name in names if one.get(name) != other.get(name))
    raise EvaluationError(
        f"{one['path']} and {other['path']}: {name} is {one.get(name)!r} in one and {other.get(name)!r} in the other; "
        f"their scores cannot be averaged into one row for {one['method']} on {one['split']}. "
        "One of them is stale: evaluate all seeds again with the same settings."
    )


def _origin(row: Row) -> str:
    path = row.members[0].get("path") if row.members else None
    return f"{row.method} ({path})" if path else row.method


def _read_json(path: Path, *, needed: Sequence[str]) -> dict[str, Any]:
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: the scores cannot be read ({error}). Evaluate again.") from error
    missing = [name for name in needed if not isinstance(record, dict) or name not in record]
    if missing:
        raise EvaluationError(f"{path}: expected a record of scores; {', '.join(missing)} not found. Evaluate again.")
    return {**record, "path": str(path)}


def _percentage(text: str, *, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise EvaluationError(f"{where}: expected a percentage or nothing, found {text!r}.")
    return value
