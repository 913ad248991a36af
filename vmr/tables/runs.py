"""Rows of trained methods: means over seeds of scores that belong together."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmr.errors import EvaluationError
from vmr.evaluation.bootstrap import VideoSums, mean_sums, same_videos
from vmr.evaluation.evaluate import read_scores
from vmr.evaluation.metrics import METRICS
from vmr.evaluation.simulated import features_title, is_simulated
from vmr.methods.catalogue import ZERO_SHOT, title_of
from vmr.tables.rows import Row, check_scores, videos_of

_SETTINGS = ("features", "simulated", "alignment", "selection", "trained")
_MUST_AGREE = ("queries", "covered")
# Of the settings of a training: what seeds may differ in. The precision is that of the device.
_MAY_DIFFER = ("seed", "precision")


def trained_rows(paths: Sequence[Path], *, datasets: Sequence[str]) -> list[Row]:
    """One row for each method, split and way of training: mean and sample standard deviation over seeds.

    Raises:
        EvaluationError: a file is no record of scores, or is of another dataset. Or its seed was there before, or its
            queries, coverage or settings differ from those of the other seeds.
    """
    records = []
    for path in paths:
        record = read_scores(
            path,
            needed=(
                *("dataset", "method", "features", "split", "seed"),
                *("queries", "covered", "videos", "covered_videos", "scores"),
            ),
        )
        check_scores(record["scores"], where=f"{path}: scores")
        if record["dataset"] not in datasets:
            raise EvaluationError(
                f"{path}: these scores belong to the dataset {record['dataset']}, the table to "
                f"{' and '.join(datasets)}. Give the metrics of one table."
            )
        added = {"simulated": is_simulated(record), "video_sums": next(iter(videos_of(record)), None)}
        records.append(record | added)
    rows = []
    for peers in _grouped(records, ("dataset", "method", "split")):
        groups = _grouped(peers, _SETTINGS)
        # Complete runs with two extractors are two rows; the seeds of one run made half with each are a mistake.
        seeds = [{record["seed"] for record in group} for group in groups]
        for group, own in zip(groups, seeds, strict=True):
            if own != seeds[0]:
                _refuse(groups[0][0], group[0], _SETTINGS)
        for group in groups:
            rows.append(_mean_row(group))
    if len({row.train_split for row in rows if row.train_split}) > 1:
        rows = [
            replace(row, source=f"{row.source}; trained on {row.train_split}") if row.train_split else row
            for row in rows
        ]
    return rows


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
    _check_trainings(group)
    group = sorted(group, key=lambda record: str(record["seed"]).zfill(20))
    sets: dict[str, dict[str, float | None]] = {}
    for name in first["scores"]:
        if all(record["scores"].get(name) for record in group):
            sets[name] = {
                metric: statistics.fmean(record["scores"][name][metric] for record in group) for metric in METRICS
            }
    raw = [record["scores"]["raw"] for record in group]
    std: dict[str, float | None] = {
        metric: statistics.stdev(own[metric] for own in raw) if len(raw) > 1 else None for metric in METRICS
    }
    trains = str(first["method"]) != ZERO_SHOT.name
    source = ["computed here" if trains else "computed here; no training"]
    if first.get("alignment"):
        source.append(f"alignment: {first['alignment']}")
    if first.get("selection") == "test":
        source.append("selection: test")
    trained = first.get("trained", True)
    if not trained:
        # What networks answer as they were drawn is no score.
        sets, std = {"raw": dict.fromkeys(METRICS)}, dict.fromkeys(METRICS)
        reason = str((first.get("run") or {}).get("reason", ""))
        past_end = "begin after" in reason
        source.append(f"untrained: {reason if past_end else 'no training video has features'}")
    return Row(
        method=title_of(str(first["method"])),
        features=features_title(first),
        source="; ".join(source),
        split=first["split"],
        kind="trained",
        std=std,
        seeds=len(group) if trains else None,
        queries=first["queries"],
        coverage=100.0 * first["covered"] / first["queries"],
        sets=sets,
        videos=_mean_videos(group) if trained else None,
        members=tuple(group),
        train_split=str(first.get("train_split") or ""),
        simulated=first["simulated"],
    )


def _mean_videos(group: Sequence[dict[str, Any]]) -> VideoSums | None:
    several = [record["video_sums"] for record in group]
    if not all(several):
        return None
    for record, videos in zip(group, several, strict=True):
        if not same_videos(videos, several[0]) or (videos.covered_mask != several[0].covered_mask).any():
            raise EvaluationError(
                f"{group[0]['path']} and {record['path']}: their scores by video are of other videos or queries. "
                "One of them is stale: evaluate all seeds again."
            )
    return mean_sums(several)


def _grouped(records: Sequence[dict[str, Any]], names: Sequence[str]) -> list[list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(json.dumps([record.get(name) for name in names]), []).append(record)
    return list(groups.values())


def _check_trainings(group: Sequence[dict[str, Any]]) -> None:
    """Refuse seeds that were trained with different settings, as far as the records tell them."""
    runs = [record.get("run") or {} for record in group]
    trainings = [dict(run.get("settings") or {}) for run in runs]
    fewest = min((settings["epochs"] for settings in trainings if "epochs" in settings), default=0)
    told: dict[str, tuple[dict[str, Any], Any]] = {}
    for record, run, settings in zip(group, runs, trainings, strict=True):
        # With the fewest epochs that any of them might have had, a run that ended by then would be the same.
        if "epochs" in settings and run.get("epochs_run", math.inf) <= fewest:
            settings["epochs"] = fewest
        for name in sorted(settings.keys() - set(_MAY_DIFFER)):
            other, value = told.setdefault(name, (record, settings[name]))
            if value != settings[name]:
                _refuse({**other, name: value}, {**record, name: settings[name]}, [name])


def _refuse(one: dict[str, Any], other: dict[str, Any], names: Sequence[str]) -> None:
    name = next(name for name in names if one.get(name) != other.get(name))
    raise EvaluationError(
        f"{one['path']} and {other['path']}: {name} is {one.get(name)!r} in one and {other.get(name)!r} in the other; "
        f"their scores cannot be averaged into one row for {one['method']} on {one['split']}. "
        "One of them is stale: train and evaluate all seeds again with the same settings."
    )
