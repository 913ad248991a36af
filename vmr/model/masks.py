"""Masks of padded sequences, softmax under them, and the check of their lengths.

Shapes: B queries of a batch, U different videos of them, N steps, T items of any sequence.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def valid_mask(counts: Int[Tensor, "B"], length: int) -> Bool[Tensor, "B T"]:
    """True at the first `counts` of `length` items.

    >>> valid_mask(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(length, device=counts.device) < counts[:, None]


def check_counts(step_counts: Int[Tensor, "B"], word_counts: Int[Tensor, "B"]) -> None:
    """Refuse empty sequences, which no softmax and no LSTM can read; on a card they are not looked at.

    Raises:
        ValueError: a video without steps, or a query without words.
    """
    if step_counts.device.type != "cpu":  # looking would make the card wait, and cannot be recorded
        return
    if int(step_counts.min()) < 1 or int(word_counts.min()) < 1:
        raise ValueError("every video needs at least one step and every query at least one word")


def at_least_single(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """At least single precision: softmax and losses are not for bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def masked_softmax(scores: Float[Tensor, "..."], mask: Bool[Tensor, "..."], *, dim: int) -> Float[Tensor, "..."]:
    """Softmax over the real items only, in single precision at least; the others get 0.

    Args:
        mask: True at real items, of which each softmax needs one; broadcasts against `scores`.

    >>> masked_softmax(torch.tensor([[0.0, 0.0, 9.0]]), torch.tensor([[True, True, False]]), dim=1).tolist()
    [[0.5, 0.5, 0.0]]
    """
    return at_least_single(scores).masked_fill(~mask, -math.inf).softmax(dim=dim)
