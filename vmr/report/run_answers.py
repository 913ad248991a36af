"""The answers of all runs, query by query, beside the queries that they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from vmr.annotations.moments import read_moments
from vmr.errors import EvaluationError
from vmr.evaluation.evaluate import read_scores, select_queries
from vmr.evaluation.predictions import read_predictions
from vmr.evaluation.simulated import features_title
from vmr.methods.catalogue import place_of
from vmr.model.spans import temporal_iou

_NEEDED = ("dataset", "method", "features", "split", "splits", "seed", "queries", "scores")


@dataclass(frozen=True)
class RunAnswers:
    """First spans of one run on one split."""

    method: str
    seed: int
    folder: Path
    span_sec: Float[np.ndarray, "Q 2"]  # first span of every query, NaN where there is none
    iou: Float[np.ndarray, " Q"]  # of that span with the ground truth as annotated, 0 where there is none
    metrics: dict[str, Any]  # the record of scores


@dataclass
class Group:
    """All runs of one kind of features on one split."""

    split: str
    features: str  # kind of features, as tables call it
    queries: pd.DataFrame  # the table of moments of the split, with clamped spans and durations
    # by method, in the order of the table; seeds ascending
    runs: dict[str, list[RunAnswers]] = field(default_factory=dict)

    def ious(self, method: str) -> Float[np.ndarray, "S Q"]:
        """IoU of every seed of a method."""
        return np.stack([run.iou for run in self.runs[method]])

    def hits(self, method: str, threshold: float) -> Float[np.ndarray, " Q"]:
        """Share of a method's seeds whose first span reaches the threshold."""
        shares: Float[np.ndarray, " Q"] = (self.ious(method) >= threshold).mean(axis=0)
        return shares

    @property
    def answered_mask(self) -> Bool[np.ndarray, " Q"]:
        """True where the first run answers."""
        mask: Bool[np.ndarray, " Q"] = np.isfinite(next(iter(self.runs.values()))[0].span_sec).all(axis=1)
        return mask


def read_groups(metrics: Sequence[Path], *, moments: Mapping[str, Path], manifests: Sequence[Path]) -> list[Group]:
    """Read predictions beside their scores.

    Args:
        metrics: ``metrics_{split}.json`` of every run; ``predictions_{split}.jsonl`` lies beside each.

    Raises:
        EvaluationError: a file cannot be used, or predictions are not those that were scored.
    """
    tables = {name: read_moments(path) for name, path in moments.items()}
    groups: dict[tuple[str, str, str], Group] = {}
    for path in metrics:
        record = read_scores(path, needed=_NEEDED)
        name, split = str(record["dataset"]), str(record["split"])
        key = (name, split, features_title(record))
        if key not in groups:
            queries = select_queries(
                tables[name], splits=list(record["splits"]), manifests=list(manifests), moments=moments[name]
            )
            groups[key] = Group(*key[1:], queries)
        group = groups[key]
        if len(group.queries) != record["queries"]:
            raise EvaluationError(
                f"{path}: scored on {record['queries']} queries, {moments[name]} has {len(group.queries)} of them. "
                "Evaluate again."
            )
        group.runs.setdefault(str(record["method"]), []).append(_read_run(record, group.queries, tables[name]))
    for group in groups.values():
        known = sorted(group.runs, key=place_of)
        group.runs = {method: sorted(group.runs[method], key=lambda run: run.seed) for method in known}
    return list(groups.values())


def _read_run(record: Mapping[str, Any], queries: pd.DataFrame, table: pd.DataFrame) -> RunAnswers:
    path = Path(record["path"])
    answers = read_predictions(path.with_name(f"predictions_{record['split']}.jsonl"), moments=table)
    span_sec, iou = first_spans(answers, queries)
    if abs(100.0 * iou.mean() - record["scores"]["raw"]["mIoU"]) > 0.01:
        raise EvaluationError(
            f"{path}: the predictions beside it score {100.0 * iou.mean():.2f} mIoU, the record says "
            f"{record['scores']['raw']['mIoU']:.2f}. Evaluate again."
        )
    return RunAnswers(str(record["method"]), int(record["seed"]), path.parent, span_sec, iou, dict(record))


def first_spans(
    answers: Mapping[str, Float[np.ndarray, "K 2"]], queries: pd.DataFrame
) -> tuple[Float[np.ndarray, "Q 2"], Float[np.ndarray, " Q"]]:
    """First span of every query (NaN without one) and its IoU with the ground truth as annotated (0 without one)."""
    span_sec = np.full((len(queries), 2), np.nan)
    for number, query_id in enumerate(queries["query_id"]):
        ranked = answers.get(query_id)
        if ranked is not None and len(ranked):
            span_sec[number] = ranked[0]
    truth = queries[["start_sec", "end_sec"]].to_numpy(np.float64)
    answered = np.isfinite(span_sec).all(axis=1)
    iou = np.zeros(len(queries))
    iou[answered] = temporal_iou(span_sec[answered], truth[answered])
    return span_sec, iou
