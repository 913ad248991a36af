"""Videos of any length on a grid of fixed length, which has no padding.

Shapes: B videos or queries, U videos, N steps, T bins, M intervals, D features.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor


def pooled(
    features: Float[Tensor, "B N D"], step_counts: Int[Tensor, "B"], bins: int, how: Literal["mean", "max"]
) -> Float[Tensor, "B T D"]:
    """Means or maxima of the steps of each bin.

    Of n steps bin b covers those from ``floor(b n / T)`` to ``floor((b + 1) n / T) - 1``; where that is none, the first
    of these alone, so that shorter videos repeat steps.

    Args:
        features: of the steps; what follows the last step of a video does not matter.

    >>> pooled(torch.tensor([[[0.0], [1.0], [2.0]]]), torch.tensor([3]), 6, "mean").flatten().tolist()
    [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    """
    device = features.device
    counts = step_counts.to(device)[:, None]
    edge = torch.arange(bins + 1, device=device) * counts // bins
    first = edge[:, :-1]
    size = (edge[:, 1:] - first).clamp_min(1)
    # Bins of fewer steps repeat their last one, which changes no maximum and has no weight in a mean.
    offset = torch.arange(-(-features.shape[1] // bins), device=device)
    step = first[..., None] + torch.minimum(offset, size[..., None] - 1)
    rows = step + torch.arange(len(features), device=device)[:, None, None] * features.shape[1]
    found = features.flatten(0, 1).index_select(0, rows.flatten()).view(*step.shape, features.shape[-1])
    if len(offset) == 1:
        return found.squeeze(2)
    if how == "max":
        return found.amax(dim=2)
    counted = (offset < size[..., None])[..., None]
    return found.masked_fill(~counted, 0.0).sum(dim=2) / size[..., None]


def equal_parts(kinds: Iterable[int]) -> Float[Tensor, "M 2"]:
    """Shares of a video: equal parts, so many of each kind, one kind after the other.

    >>> equal_parts((2, 1)).tolist()
    [[0.0, 0.5], [0.5, 1.0], [0.0, 1.0]]
    """
    edges = [torch.arange(kind + 1, dtype=torch.float64) / kind for kind in kinds]
    return torch.cat([torch.stack([edge[:-1], edge[1:]], dim=1) for edge in edges])


def interval_means(
    x: Float[Tensor, "U N D"], step_counts: Int[Tensor, "U"], share: Float[Tensor, "... M 2"]
) -> Float[Tensor, "U M D"]:
    """Mean of the steps over each interval; a step that lies partly inside counts by that part.

    Args:
        share: start and end of each interval as shares of the steps, within [0, 1], none empty; of all videos (M 2),
            or of each its own (U M 2).

    >>> x = torch.tensor([[[1.0], [2.0], [6.0]]])
    >>> share = torch.tensor([[0.0, 1 / 3], [0.5, 1.0], [0.0, 1.0]], dtype=torch.float64)
    >>> interval_means(x, torch.tensor([3]), share)[0, :, 0].tolist()
    [1.0, 4.666666507720947, 3.0]
    """
    return interval_weights(step_counts.to(x.device), x.shape[1], share).to(x.dtype) @ x


def interval_weights(
    step_counts: Int[Tensor, "U"], steps: int, share: Float[Tensor, "... M 2"]
) -> Float[Tensor, "U M N"]:
    """The weight of each step in the mean over an interval; see `interval_means`."""
    # Double precision, so that a share of 1 of any number of steps leaves no rest for the padding.
    place = share.double() * step_counts[:, None, None]
    step = torch.arange(steps, device=place.device)
    inside = torch.minimum(place[..., 1:], step + 1) - torch.maximum(place[..., :1], step)
    weights = inside.clamp_min_(0.0)
    return weights / weights.sum(dim=2, keepdim=True)
