"""What a run thinks of every step of a video: P_start, P_end and P_in of a few queries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vmr.model.prediction import BoundaryPrediction, Prediction, SpanPrediction
from vmr.training.inference import predict_batch
from vmr.training.predict import open_run

_DIGITS = 4


@torch.inference_mode()
def probability_curves(
    *,
    checkpoint: Path,
    moments: Path,
    features: Path,
    queries: Path,
    manifests: Sequence[Path],
    splits: Sequence[str],
    query_ids: Collection[str],
    device: str,
    scratch: Path,
) -> dict[str, dict[str, list[float]]]:
    """Probabilities over time of some queries, as the evaluation has them by default: in single precision.

    Args:
        checkpoint: of a run.
        moments: the table of moments.
        features: the feature store.
        queries: the query store.
        manifests: video manifests, for durations; may be empty.
        splits: the splits that were evaluated together.
        query_ids: the queries; those without features have no curves.
        device: auto, cpu or cuda.
        scratch: folder for features that do not fit into memory.

    Returns:
        By query id: `start_sec` and `end_sec` of every step, and for every step `start` and `end` (Eq. 14, each adds
        up to 1), `inside` (Eq. 15) where the method has that task, or `attention` for a method that predicts two
        numbers instead of distributions.

    Raises:
        CheckpointError: the checkpoint does not fit features or queries.
    """
    run = open_run(
        checkpoint=checkpoint,
        moments=moments,
        features=features,
        queries=queries,
        manifests=manifests,
        splits=splits,
        device=device,
        scratch=scratch,
        query_ids=query_ids,
    )
    curves = {}
    # One at a time: a few dozen queries, and no padding to cut off.
    for row in run.rows:
        batch = run.collator(run.samples, np.array([row]))
        probabilities = _probabilities(predict_batch(run.model, batch, "float32"))
        start_sec, end_sec = run.collator.videos.times(int(run.samples.video[row]))
        curves[run.samples.query_ids[row]] = {
            "start_sec": np.round(start_sec, 3).tolist(),
            "end_sec": np.round(end_sec, 3).tolist(),
            **{name: [round(float(p), _DIGITS) for p in own[0].cpu()] for name, own in probabilities.items()},
        }
    return curves


def _probabilities(prediction: Prediction) -> dict[str, Tensor]:
    if isinstance(prediction, BoundaryPrediction):
        found: dict[str, Any] = {"start": prediction.start.softmax(dim=1), "end": prediction.end.softmax(dim=1)}
        return found if prediction.inside is None else found | {"inside": prediction.inside.sigmoid()}
    assert isinstance(prediction, SpanPrediction)
    return {"attention": prediction.attention.softmax(dim=1)}
