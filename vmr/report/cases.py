"""The stage that studies cases: chooses queries, and gathers what a reader wants to see of each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from vmr.annotations.moments import read_moments
from vmr.config.sections import ReportSettings
from vmr.data.dataset import DatasetFiles
from vmr.errors import EvaluationError
from vmr.evaluation.evaluate import read_scores, select_queries
from vmr.evaluation.predictions import read_predictions
from vmr.evaluation.simulated import features_title, is_simulated, told_by
from vmr.features.store import FeatureStore
from vmr.methods.catalogue import place_of
from vmr.model.spans import temporal_iou
from vmr.names import Device
from vmr.report.choice import choose_cases
from vmr.report.run_answers import first_spans
from vmr.report.strips import film_strips
from vmr.storage.code_digest import code_digest
from vmr.storage.files import write_json
from vmr.training.inference import predict_batch
from vmr.training.predict import OpenRun, open_run

log = logging.getLogger(__name__)

_SPANS = 5


def study_cases(
    *,
    runs: Sequence[Path],
    split_name: str,
    splits: Sequence[str],
    files: DatasetFiles,
    frames: Sequence[Path],
    dataset: str,
    features_label: str,
    output: Path,
    settings: ReportSettings,
    device: Device,
) -> None:
    """Write the case studies of one split and kind of features as JSON.

    The last method in the order of the table decides which queries are best, median and worst.

    Args:
        frames: frame stores for the pictures; empty, or gone, where there are none.

    Raises:
        EvaluationError: two runs are of one method, or predictions cannot be read.
        CheckpointError: a checkpoint does not fit features or queries.
    """
    table = read_moments(files.moments)
    chosen_from = select_queries(table, splits=list(splits), manifests=files.manifests, moments=files.moments)
    records = [read_scores(run / f"metrics_{split_name}.json", needed=("method", "seed")) for run in runs]
    answers, seeds = {}, {}
    for record in sorted(records, key=lambda record: place_of(record["method"])):
        method, run = record["method"], Path(record["path"]).parent
        if method in answers:
            raise EvaluationError(f"{run}: a second run of {method}; give one of each method.")
        answers[method] = read_predictions(run / f"predictions_{split_name}.jsonl", moments=table)
        seeds[method] = (record["seed"], run)
    decides = list(answers)[-1]
    span_sec, iou = first_spans(answers[decides], chosen_from)
    kinds = choose_cases(
        iou,
        miss=_misses(span_sec, chosen_from),
        answered_mask=np.isfinite(span_sec).all(axis=1),
        video_ids=chosen_from["video_id"].tolist(),
        each=settings.cases,
        by_chance=settings.random_cases,
        seed=settings.seed,
    )
    rows = chosen_from.iloc[list(kinds)]
    curves = {
        method: _probability_curves(
            open_run(
                checkpoint=run / "checkpoint.safetensors",
                files=files,
                splits=splits,
                device=device,
                scratch=output.parent,
                query_ids=set(rows["query_id"]),
            )
        )
        if len(rows)
        else {}
        for method, (_, run) in seeds.items()
    }
    strips = film_strips(frames, rows["video_id"], count=settings.thumbnails)
    with FeatureStore(files.features) as store:
        named = {"features": features_label, "simulated": told_by(store.provenance)}
    cases = [
        _case(row, own, answers=answers, curves=curves)
        for row, own in zip(rows.to_dict("records"), kinds.values(), strict=True)
    ]
    write_json(
        output,
        {
            "dataset": dataset,
            "split": split_name,
            "features": features_title(named),
            "decides": decides,
            "seeds": {method: number for method, (number, _) in seeds.items()},
            "queries": len(chosen_from),
            "answered": int(np.isfinite(span_sec).all(axis=1).sum()),
            "draw_seed": settings.seed,
            "strips": strips,
            "no_strips": _why_no_strips(
                rows["video_id"], strips, frames, settings.thumbnails, simulated=is_simulated(named)
            ),
            "cases": cases,
            "provenance": {"code": code_digest(["vmr.report.cases"], without=["vmr.config", "vmr.settings"])},
        },
    )
    log.info("%s, %s: %d cases, pictures of %d videos", split_name, features_label, len(cases), len(strips))


@torch.inference_mode()
def _probability_curves(run: OpenRun) -> dict[str, dict[str, list[float]]]:
    """By query id, of those with features, what a run thinks of every step: `start_sec`, `end_sec` and its curves.

    As the evaluation has them by default: in single precision.
    """
    curves = {}
    # One at a time: a few dozen queries, and no padding to cut off.
    for row in run.rows:
        batch = run.collator(run.samples, np.array([row]))
        probabilities = predict_batch(run.model, batch, "float32").curves()
        start_sec, end_sec = run.collator.videos.times(int(run.samples.video[row]))
        curves[run.samples.query_ids[row]] = {
            "start_sec": np.round(start_sec, 3).tolist(),
            "end_sec": np.round(end_sec, 3).tolist(),
            **{name: [round(float(p), 4) for p in own[0].cpu()] for name, own in probabilities.items()},
        }
    return curves


def _misses(span_sec: Float[np.ndarray, "Q 2"], queries: pd.DataFrame) -> Float[np.ndarray, " Q"]:
    """Seconds by which start and end are off, as a share of the video where its duration is known."""
    truth = queries[["start_sec", "end_sec"]].to_numpy(np.float64)
    scale = queries["duration_sec"].fillna(1.0).to_numpy(np.float64)
    misses: Float[np.ndarray, " Q"] = np.nan_to_num(np.abs(span_sec - truth).sum(axis=1) / scale, nan=np.inf)
    return misses


def _case(
    row: Mapping[Any, Any],
    kinds: Sequence[str],
    *,
    answers: Mapping[str, Mapping[str, Float[np.ndarray, "K 2"]]],
    curves: Mapping[str, Mapping[str, dict[str, list[float]]]],
) -> dict[str, Any]:
    truth = np.array([row["start_sec"], row["end_sec"]])
    methods = {}
    for method, own in answers.items():
        spans = own.get(row["query_id"], np.empty((0, 2)))[:_SPANS]
        methods[method] = {
            "spans": np.round(spans, 3).tolist(),
            "iou": round(float(temporal_iou(spans[0], truth)), 4) if len(spans) else None,
            "curves": curves[method].get(row["query_id"]),
        }
    duration = row["duration_sec"]
    return {
        "query_id": row["query_id"],
        "video_id": row["video_id"],
        "sentence": row["sentence"],
        "kinds": list(kinds),
        "truth": truth.tolist(),
        "duration_sec": float(duration) if np.isfinite(duration) else None,
        "methods": methods,
    }


def _why_no_strips(
    video_ids: pd.Series[str], strips: Mapping[str, Any], frames: Sequence[Path], thumbnails: int, *, simulated: bool
) -> str:
    """The reason why some videos have no pictures; empty where all have."""
    without = set(video_ids) - set(strips)
    if not without:
        return ""
    if simulated:
        return "No pictures: the features are simulated, no video was seen."
    if not thumbnails:
        return "No pictures: film strips are switched off (report.thumbnails)."
    if not any(path.exists() for path in frames):
        return "No pictures: no decoded frames are at hand (the features were imported, or the frames deleted)."
    return f"No pictures of {len(without)} of the videos: their frames are not in the frame store."
