"""The training objective: start and end (Sec. 2.5, negative log-likelihood) and moment segmentation (Eqs. 15, 16).

Every loss is a mean over the queries of a batch, so that a query counts the same whoever shares its batch.

Shapes: B batch, N steps.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from vmr.model.ci_mha import Prediction, valid_mask


@dataclass(frozen=True)
class Losses:
    """The parts of the objective, each a number.

    Attributes:
        total: what is minimised.
        boundary: NLL of the start plus NLL of the end.
        segmentation: binary cross entropy of the steps; 0 without that task.
    """

    total: Float[Tensor, ""]
    boundary: Float[Tensor, ""]
    segmentation: Float[Tensor, ""]


def moment_loss(
    prediction: Prediction,
    labels: Int[Tensor, "B 2"],
    step_counts: Int[Tensor, "B"],
    *,
    segmentation_weight: float = 1.0,
) -> Losses:
    """The objective of a batch.

    Args:
        prediction: logits of the network.
        labels: first and last step of each moment.
        step_counts: steps of each video.
        segmentation_weight: weight of the segmentation task (not in the paper: 1).
    """
    boundary = boundary_loss(prediction.start, labels[:, 0]) + boundary_loss(prediction.end, labels[:, 1])
    if prediction.inside is None:
        return Losses(total=boundary, boundary=boundary, segmentation=torch.zeros_like(boundary))
    step_mask = valid_mask(step_counts, prediction.inside.shape[1]).to(prediction.inside.device)
    segmentation = segmentation_loss(prediction.inside, labels, step_mask)
    return Losses(total=boundary + segmentation_weight * segmentation, boundary=boundary, segmentation=segmentation)


def boundary_loss(logits: Float[Tensor, "B N"], step: Int[Tensor, "B"]) -> Float[Tensor, ""]:
    """Mean negative log-likelihood of the true step under the softmax over time (Eq. 14).

    Args:
        logits: minus infinity after the last step of a video.
        step: the true step.
    """
    return F.cross_entropy(logits, step)


def segmentation_loss(
    logits: Float[Tensor, "B N"], labels: Int[Tensor, "B 2"], step_mask: Bool[Tensor, "B N"]
) -> Float[Tensor, ""]:
    """Binary cross entropy of lying inside the moment: mean over the steps of a video, then over the queries.

    Args:
        logits: of P_in (Eq. 15).
        labels: first and last step of each moment; all between, inclusive, are positive.
        step_mask: True at real steps; the others do not count.
    """
    step = torch.arange(logits.shape[1], device=logits.device)
    inside = (step >= labels[:, :1]) & (step <= labels[:, 1:])
    each = F.binary_cross_entropy_with_logits(logits, inside.to(logits.dtype), reduction="none")
    return ((each * step_mask).sum(dim=1) / step_mask.sum(dim=1)).mean()
