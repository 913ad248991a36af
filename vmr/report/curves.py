"""What a run thinks of every step of a video: P_start, P_end and P_in of a few queries."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch

from vmr.data.dataset import DatasetFiles
from vmr.names import Device
from vmr.training.inference import predict_batch
from vmr.training.predict import open_run

_DIGITS = 4


@torch.inference_mode()
def probability_curves(
    *,
    checkpoint: Path,
    files: DatasetFiles,
    splits: Sequence[str],
    query_ids: Collection[str],
    device: Device,
    scratch: Path,
) -> dict[str, dict[str, list[float]]]:
    """Probabilities over time of some queries, as the evaluation has them by default: in single precision.

    Args:
        query_ids: the queries; those without features have no curves.

    Returns:
        By query id: `start_sec` and `end_sec` of every step, and the curves of the method's prediction.

    Raises:
        CheckpointError: the checkpoint does not fit features or queries.
    """
    run = open_run(
        checkpoint=checkpoint,
        files=files,
        splits=splits,
        device=device,
        scratch=scratch,
        query_ids=query_ids,
    )
    curves = {}
    # One at a time: a few dozen queries, and no padding to cut off.
    for row in run.rows:
        batch = run.collator(run.samples, np.array([row]))
        probabilities = predict_batch(run.model, batch, "float32").curves()
        start_sec, end_sec = run.collator.videos.times(int(run.samples.video[row]))
        curves[run.samples.query_ids[row]] = {
            "start_sec": np.round(start_sec, 3).tolist(),
            "end_sec": np.round(end_sec, 3).tolist(),
            **{name: [round(float(p), _DIGITS) for p in own[0].cpu()] for name, own in probabilities.items()},
        }
    return curves
