"""The objectives: boundaries and segmentation (Yu et al., Sec. 2.5), and those of the neighbours.

Every loss is a mean over the queries of a batch, so that a query counts the same whoever shares its batch.

Shapes: B batch, N steps, L words, P phrases.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from vmr.model.masks import valid_mask
from vmr.model.prediction import BoundaryPrediction


@dataclass(frozen=True)
class Losses:
    """The objective of a batch and its parts, each a number."""

    total: Float[Tensor, ""]  # what is minimised
    # its terms by name, before their weights; the first is the task itself, which validation watches
    parts: dict[str, Float[Tensor, ""]]

    @property
    def task(self) -> Float[Tensor, ""]:
        """The first part."""
        return next(iter(self.parts.values()))


def moment_loss(
    prediction: BoundaryPrediction,
    labels: Int[Tensor, "B 2"],
    step_counts: Int[Tensor, "B"],
    *,
    segmentation_weight: float = 1.0,
) -> Losses:
    """The objective of CI-MHA: `boundary`, the NLL of start plus end, and `segmentation` where there is that task.

    Args:
        segmentation_weight: weight of the segmentation task (not in the paper: 1).
    """
    boundary = boundaries_loss(prediction, labels)
    if prediction.inside is None:
        return Losses(total=boundary, parts={"boundary": boundary})
    segmentation = segmentation_loss(prediction.inside, labels, step_counts)
    return Losses(
        total=boundary + segmentation_weight * segmentation,
        parts={"boundary": boundary, "segmentation": segmentation},
    )


def boundaries_loss(prediction: BoundaryPrediction, labels: Int[Tensor, "B 2"]) -> Float[Tensor, ""]:
    """Negative log-likelihood of the start plus that of the end, means over the queries (Eq. 14)."""
    return F.cross_entropy(prediction.start, labels[:, 0]) + F.cross_entropy(prediction.end, labels[:, 1])


def segmentation_loss(
    logits: Float[Tensor, "B N"], labels: Int[Tensor, "B 2"], step_counts: Int[Tensor, "B"]
) -> Float[Tensor, ""]:
    """Binary cross entropy of lying inside the moment: mean over the steps of a video, then over the queries.

    Args:
        logits: of P_in (Eq. 15).
        labels: first and last step of each moment; all between, inclusive, are positive.
    """
    step = torch.arange(logits.shape[1], device=logits.device)
    inside = (step >= labels[:, :1]) & (step <= labels[:, 1:])
    each = F.binary_cross_entropy_with_logits(logits, inside.to(logits.dtype), reduction="none")
    return mean_where(each, valid_mask(step_counts, logits.shape[1]).to(logits.device))


def mean_where(values: Float[Tensor, "B M"], mask: Bool[Tensor, "B M"]) -> Float[Tensor, ""]:
    """Mean of each row's values where the mask is true (0 where it never is), then over the rows."""
    return ((values * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)).mean()


def extended_labels(labels: Int[Tensor, "B 2"], step_counts: Int[Tensor, "B"], *, ratio: float) -> Int[Tensor, "B 2"]:
    """Moments made longer on both sides by a share of their length (VSLNet, query-guided highlighting).

    Not in the paper (Zhang et al. 2020): shares of a step are rounded, halves up, and videos are not left.

    Args:
        step_counts: steps of each video.
        ratio: share of the moment's length by which each side grows.

    >>> extended_labels(torch.tensor([[5, 14]]), torch.tensor([15]), ratio=0.1).tolist()
    [[4, 14]]
    """
    extra = ((labels[:, 1] - labels[:, 0] + 1) * ratio + 0.5).floor().to(labels.dtype)
    first = (labels[:, 0] - extra).clamp_min(0)
    last = torch.minimum(labels[:, 1] + extra, step_counts.to(labels.device) - 1)
    return torch.stack([first, last], dim=1)


def regression_loss(span: Float[Tensor, "B 2"], share: Float[Tensor, "B 2"]) -> Float[Tensor, ""]:
    """Smooth L1 of the start plus that of the end (LGI), which is half of the square for errors below 1."""
    return F.smooth_l1_loss(span, share.to(span.dtype), reduction="none").sum(dim=1).mean()


def attention_guidance_loss(logits: Float[Tensor, "B N"], labels: Int[Tensor, "B 2"]) -> Float[Tensor, ""]:
    """Mean of minus the log of the attention over the steps of the moment (LGI, temporal attention guidance).

    Args:
        logits: of the attention, minus infinity after the last step of a video.
    """
    step = torch.arange(logits.shape[1], device=logits.device)
    inside = (step >= labels[:, :1]) & (step <= labels[:, 1:])
    # Chosen, not multiplied as in `mean_where`: after the last step the logarithm is minus infinity.
    each = torch.where(inside, -logits.log_softmax(dim=1), 0.0)
    return (each.sum(dim=1) / inside.sum(dim=1)).mean()


def distinct_phrases_loss(weights: Float[Tensor, "B P L"], *, overlap: float) -> Float[Tensor, ""]:
    """Squared Frobenius norm of A A^T - overlap * I, A being the phrases' weights of the words (LGI, DQA).

    Phrases that look at different words have orthogonal rows; the diagonal is pulled to `overlap`, which is the
    smaller the more words a phrase should look at.
    """
    gram = weights @ weights.transpose(1, 2)
    wanted = overlap * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    return (gram - wanted).square().sum(dim=(1, 2)).mean()


def ranking_loss(scores: Float[Tensor, "B B"], same_video: Bool[Tensor, "B B"], *, margin: float) -> Float[Tensor, ""]:
    """Mean hinge between each true pair and the wrong ones of its row and of its column; 0 where there are none.

    Papers take the sum (TGA, MLVI); the mean does not depend on how many wrong pairs a batch has. Queries about one
    video are no wrong pairs of each other.

    Args:
        scores: of query i with what belongs to query j.

    >>> same = torch.eye(2, dtype=torch.bool)
    >>> round(ranking_loss(torch.tensor([[0.5, 0.4], [0.1, 0.6]]), same, margin=0.2).item(), 6)
    0.025
    """
    true = scores.diagonal()
    hinges = (margin + scores - true[:, None]).clamp_min(0.0) + (margin + scores - true).clamp_min(0.0)
    wrong = (~same_video).to(scores.dtype)
    return (hinges * wrong).sum() / (2 * wrong.sum()).clamp_min(1.0)
