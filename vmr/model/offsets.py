"""Offsets of spans from candidates: the middle's shift by the candidate's length, and the logarithm of the growth.

The form is that of Faster R-CNN; MAN and MLVI use it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_MOST_GROWTH = 3.0  # a logarithm: twenty times; an exponential without a bound would overflow
_LEAST_SHARE = 1e-3  # of the video; a moment without length has no logarithm


def moved(shares: Float[Tensor, "*#B 2"], offsets: Float[Tensor, "*#B 2"]) -> Float[Tensor, "*B 2"]:
    """Spans after their offsets.

    >>> moved(torch.tensor([0.0, 0.5]), torch.tensor([0.5, 0.0])).tolist()
    [0.25, 0.75]
    """
    length = shares[..., 1] - shares[..., 0]
    middle = shares.mean(dim=-1) + offsets[..., 0] * length
    half = length * offsets[..., 1].clamp(-_MOST_GROWTH, _MOST_GROWTH).exp() / 2
    return torch.stack([middle - half, middle + half], dim=-1)


def offsets_between(shares: Float[Tensor, "*#B 2"], wanted: Float[Tensor, "*#B 2"]) -> Float[Tensor, "*B 2"]:
    """Offsets that make spans others, as `moved` takes them; a wanted span without length counts as a thousandth.

    >>> spans = torch.tensor([[0.0, 0.5]]), torch.tensor([[0.25, 1.25]])
    >>> [round(value, 4) for value in offsets_between(*spans)[0].tolist()]
    [1.0, 0.6931]
    """
    length = shares[..., 1] - shares[..., 0]
    growth = ((wanted[..., 1] - wanted[..., 0]).clamp_min(_LEAST_SHARE) / length).log()
    shift = (wanted.mean(dim=-1) - shares.mean(dim=-1)) / length
    return torch.stack([shift, growth], dim=-1)
