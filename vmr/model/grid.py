"""Videos of any length on a grid of fixed length, which has no padding.

Shapes: B videos or queries, N steps, T bins, D features.
"""

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
        step_counts: steps of each video, at least 1.
        bins: how many, T.
        how: what becomes of the steps of a bin.

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
