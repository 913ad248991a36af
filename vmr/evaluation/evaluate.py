"""Score a file of predictions against the table of moments."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from vmr.annotations.moments import clamp_spans, read_moments
from vmr.errors import EvaluationError
from vmr.evaluation.bootstrap import confidence_by_video, sum_by_video, write_video_scores
from vmr.evaluation.metrics import Scores, average, best_of, query_scores, score_sets, truth_spans
from vmr.evaluation.predictions import read_predictions
from vmr.evaluation.simulated import is_simulated, told_by
from vmr.storage.code_digest import code_digest
from vmr.storage.files import sha256_file, write_json
from vmr.storage.provenance import library_versions
from vmr.storage.records import read_record
from vmr.video.manifest import known_durations

_LOG = logging.getLogger(__name__)
_RUN_FACTS = (
    "trained", "chosen_epoch", "chosen_scores", "by_spans", "epochs_run", "reason", "settings", "counts", "coverage",
    "device", "precision", "seconds", "versions",
)  # fmt: skip


def evaluate_predictions(
    *,
    predictions: Path,
    moments: Path,
    manifests: list[Path],
    splits: list[str],
    split_name: str,
    output: Path,
    video_scores: Path,
    run: Path | None = None,
    labels: Mapping[str, Any] | None = None,
    candidates: Mapping[str, Float[np.ndarray, "M 2"]] | None = None,
) -> None:
    """Write metrics.json: scores against raw and clamped ground truth, over all and over the covered queries.

    A query that the file does not answer is wrong. A video is covered when one of its queries is answered, since
    predictions are made for all queries of a video with features.

    Args:
        predictions: `predictions.jsonl`; answers to queries of other splits are left aside.
        video_scores: the CSV of sums by video to write, from which tables draw their intervals.
        run: `run.json` of the training run, whose method, seed, choice of epoch and so on are taken over, and
            whether its features were simulated.
        labels: dataset, method, features, alignment, seed, selection: what the table calls these scores.
        candidates: by video id the spans in seconds among which the method chooses; without any there is no oracle.

    Raises:
        EvaluationError: the predictions are not usable (see `read_predictions`), a split has no queries, or
            `labels` and `run` contradict each other.
    """
    table = read_moments(moments)
    answered = read_predictions(predictions, moments=table)
    queries = select_queries(table, splits=splits, manifests=manifests, moments=moments)
    ranked = [answered.get(query_id) for query_id in queries["query_id"]]
    answered_mask = np.array([own is not None for own in ranked])
    covered_videos = set(queries["video_id"][answered_mask])
    covered_mask = queries["video_id"].isin(covered_videos).to_numpy()
    values = {name: query_scores(ranked, truth=truth) for name, truth in truth_spans(queries).items()}
    videos = sum_by_video(values, video_ids=queries["video_id"].tolist(), covered_mask=covered_mask)
    write_video_scores(video_scores, [videos])
    run_facts = read_run(run) if run else {}
    told = _agreeing(labels or {}, run_facts, run)
    train_split = (run_facts.get("settings") or {}).get("train_split")
    training = set(table["video_id"][table["split"] == train_split])
    metrics: dict[str, Any] = {
        **dict.fromkeys(("dataset", "method", "features", "alignment", "seed")),
        "selection": "validation",
        **told,
        "simulated": is_simulated({**told, "simulated": told_by(run_facts.get("features"))}),
        "split": split_name,
        "splits": splits,
        "queries": len(queries),
        "answered": int(answered_mask.sum()),
        "covered": int(covered_mask.sum()),
        "coverage": 100.0 * float(covered_mask.mean()),
        "videos": int(queries["video_id"].nunique()),
        "covered_videos": len(covered_videos),
        "trained_on_videos": len(training & set(queries["video_id"])),  # an honest score has none
        "past_end": int((queries["start_sec"] >= queries["duration_sec"]).sum()),
        "trained": bool(run_facts.get("trained", True)),
        "train_split": train_split,
        "scores": score_sets(values, covered_mask=covered_mask) | _oracle(queries, candidates or {}),
        "confidence": confidence_by_video(videos, seed=0),
        "video_scores": os.path.relpath(video_scores, output.parent),
        "run": {name: run_facts[name] for name in _RUN_FACTS if name in run_facts} or None,
        "provenance": {
            "predictions_sha256": sha256_file(predictions),
            "code": code_digest(["vmr.evaluation.evaluate"]),
            "versions": library_versions(["numpy", "pandas"]),
        },
    }
    write_json(output, metrics)
    _LOG.info(
        "%s: %d of %d queries answered, R@1,IoU=0.5 %.2f, mIoU %.2f",
        split_name,
        metrics["answered"],
        len(queries),
        metrics["scores"]["raw"]["R@1,IoU=0.5"],
        metrics["scores"]["raw"]["mIoU"],
    )
    if len(answered) > metrics["answered"]:
        _LOG.info("%d answers to queries of other splits were left aside", len(answered) - metrics["answered"])


def _oracle(queries: pd.DataFrame, candidates: Mapping[str, Float[np.ndarray, "M 2"]]) -> dict[str, Scores | None]:
    """Scores, against raw ground truth, of answers that are always the best candidate, as `oracle`; nothing without.

    Queries about videos without candidates count as wrong, as in the scores beside it.
    """
    if not candidates:
        return {}
    truth = truth_spans(queries)["raw"]
    best = [
        best_of(candidates[video_id], own) if video_id in candidates else None
        for video_id, own in zip(queries["video_id"], truth, strict=True)
    ]
    return {"oracle": average(query_scores(best, truth=truth))}


def select_queries(table: pd.DataFrame, *, splits: list[str], manifests: list[Path], moments: Path) -> pd.DataFrame:
    """Rows of the table in these splits, with clamped spans; `duration_sec` is NaN only where nobody knows it.

    Raises:
        EvaluationError: a split has no queries.
    """
    for split in splits:
        if split not in set(table["split"]):
            found = ", ".join(sorted(set(table["split"]))) or "none"
            raise EvaluationError(f"{moments}: no queries in the split `{split}`; splits with queries: {found}.")
    queries = table[table["split"].isin(splits)].reset_index(drop=True)
    durations = known_durations(queries, manifests)
    queries = clamp_spans(queries, durations)
    return queries.assign(duration_sec=queries["video_id"].map(durations).astype(np.float64))


def read_scores(path: Path, *, needed: Sequence[str]) -> dict[str, Any]:
    """Read a JSON of scores, and add its own path as `path`.

    Raises:
        EvaluationError: the file is missing or no such record.
    """
    record = read_record(path, what="record of scores", needed=needed, again="Evaluate again.", error=EvaluationError)
    return {**record, "path": str(path)}


def read_run(path: Path) -> dict[str, Any]:
    """The record of a training run.

    Raises:
        EvaluationError: it is missing or no such record.
    """
    return read_record(path, what="record of a training run", again="Train again.", error=EvaluationError)


def _agreeing(labels: Mapping[str, Any], run_facts: Mapping[str, Any], run: Path | None) -> dict[str, Any]:
    """The labels, after a check that the run says the same; what only the run says is taken from it."""
    agreed = dict(labels)
    for name in ("method", "seed", "alignment", "selection"):
        own = run_facts.get(name)
        if own is None or isinstance(own, dict | list):
            continue
        if agreed.get(name) is None:
            agreed[name] = own
        elif str(agreed[name]) != str(own):
            raise EvaluationError(
                f"{run}: this run has {name} {own}, but the scores are to be labelled {agreed[name]}. "
                "Evaluate the predictions of the run that the label names."
            )
    return agreed
