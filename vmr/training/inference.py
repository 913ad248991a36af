"""Running a network over samples: ranked spans, and how good the best ones are."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from vmr.data.blind import EVALUATION_SEED
from vmr.data.collate import Collator, ordered_batches
from vmr.data.samples import Samples
from vmr.errors import TrainingError
from vmr.machine.precision import Precision, autocast
from vmr.methods.entry import Supervision
from vmr.model.batch import Batch
from vmr.model.decode import RankedSpans
from vmr.model.network import MomentNetwork
from vmr.model.prediction import Prediction
from vmr.model.spans import temporal_iou


def predict_batch(
    model: MomentNetwork[Any], batch: Batch, precision: Precision, *, spans_only: bool = False
) -> Prediction:
    """What the network says about a batch; all of it, or what its spans are ranked by."""
    with autocast(batch.features.device, precision):
        prediction: Prediction = model(replace(readable(batch, precision), spans_only=spans_only))
    return prediction


def readable(batch: Batch, precision: Precision) -> Batch:
    """The batch with features that the network can read: they may be stored in half precision.

    Without autocast the network wants what its weights have.
    """
    return batch if precision == "bfloat16" else replace(batch, features=batch.features.float())


@torch.inference_mode()
def ranked_spans(
    model: MomentNetwork[Any],
    collator: Collator,
    samples: Samples,
    *,
    batch_size: int,
    top: int,
    nms_threshold: float = 0.5,
    precision: Precision = "float32",
) -> Iterator[tuple[Int[np.ndarray, "B"], RankedSpans]]:
    """Ranked spans of all samples, by batches of videos of about the same length.

    Yields:
        Numbers of the samples of a batch, and their spans.
    """
    model.eval()
    step_counts = collator.videos.counts[samples.video].numpy()
    for rows in ordered_batches(step_counts, batch_size=batch_size):
        prediction = predict_batch(model, collator(samples, rows), precision, spans_only=True)
        start_sec, end_sec = collator.seconds(samples.video[torch.from_numpy(rows)])
        yield rows, prediction.ranked(start_sec, end_sec, top=top, nms_threshold=nms_threshold)


@torch.inference_mode()
def validation_scores(
    model: MomentNetwork[Any],
    collator: Collator,
    samples: Samples,
    *,
    batch_size: int,
    precision: Precision,
    supervision: Supervision = "spans",
    negatives: int = 0,
) -> dict[str, float]:
    """How good a network is on held-out samples; losses see only what the supervision allows.

    Raises:
        TrainingError: the loss is not a number; names the queries of the first such batch.

    Returns:
        R@1 at IoU 0.5 and 0.7 and mIoU of the best spans against the clamped moments, in percent; and
        `validation_loss`, the mean of the first part of the objective, such as Eq. 14.
    """
    model.eval()
    iou, losses = np.zeros(len(samples)), np.zeros(len(samples))
    step_counts = collator.videos.counts[samples.video].numpy()
    for number, rows in enumerate(ordered_batches(step_counts, batch_size=batch_size)):
        batch = collator(samples, rows)
        targets = collator.targets(
            samples, rows, batch, supervision=supervision, negatives=negatives, seed=(*EVALUATION_SEED, number)
        )
        prediction = predict_batch(model, batch, precision)
        start_sec, end_sec = collator.seconds(samples.video[torch.from_numpy(rows)])
        spans = prediction.ranked(start_sec, end_sec)
        iou[rows] = temporal_iou(spans.span_sec[:, 0].cpu().numpy(), samples.span_sec.numpy()[rows])
        loss = model.losses(prediction, targets).task.item()
        if not math.isfinite(loss):
            raise TrainingError(
                "the validation loss is not a number, in the batch of the queries "
                f"{', '.join(samples.query_ids[row] for row in rows)}"
            )
        losses[rows] = loss
    return {
        "validation_loss": float(losses.mean()),
        "R@1,IoU=0.5": 100.0 * float((iou >= 0.5).mean()),
        "R@1,IoU=0.7": 100.0 * float((iou >= 0.7).mean()),
        "mIoU": 100.0 * float(iou.mean()),
    }
