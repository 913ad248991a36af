"""Running a network over samples: ranked spans, and how good the best ones are."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from vmr.data.collate import Batch, Collator, ordered_batches
from vmr.data.samples import Samples
from vmr.errors import TrainingError
from vmr.machine.precision import Precision, autocast
from vmr.model.decode import RankedSpans
from vmr.model.losses import Targets
from vmr.model.network import MomentNetwork
from vmr.model.prediction import Prediction
from vmr.model.spans import temporal_iou


def predict_batch(
    model: MomentNetwork[Any], batch: Batch, precision: Precision, *, spans_only: bool = False
) -> Prediction:
    """What the network says about a batch; all of it, or what its spans are ranked by."""
    with autocast(batch.features.device, precision):
        # Features may be stored in half precision; without autocast the network wants what its weights have.
        features = batch.features if precision == "bfloat16" else batch.features.float()
        prediction: Prediction = model(
            features, batch.step_counts, batch.words, batch.unknown_mask, batch.word_counts, batch.video,
            spans_only=spans_only,
        )  # fmt: skip
    return prediction


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
    model: MomentNetwork[Any], collator: Collator, samples: Samples, *, batch_size: int, precision: Precision
) -> dict[str, float]:
    """How good a network is on held-out samples.

    Raises:
        TrainingError: the loss is not a number; names the queries of the first such batch.

    Returns:
        R@1 at IoU 0.5 and 0.7 and mIoU of the best spans against the clamped moments, in percent; and
        `validation_loss`, the mean of the first part of the objective: of Eq. 14, or of LGI's regression.
    """
    model.eval()
    iou, losses = np.zeros(len(samples)), np.zeros(len(samples))
    step_counts = collator.videos.counts[samples.video].numpy()
    for rows in ordered_batches(step_counts, batch_size=batch_size):
        batch = collator(samples, rows)
        prediction = predict_batch(model, batch, precision)
        start_sec, end_sec = collator.seconds(samples.video[torch.from_numpy(rows)])
        spans = prediction.ranked(start_sec, end_sec)
        iou[rows] = temporal_iou(spans.span_sec[:, 0].cpu().numpy(), samples.span_sec.numpy()[rows])
        loss = model.losses(prediction, Targets(batch.labels, batch.share, batch.step_counts)).task.item()
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
