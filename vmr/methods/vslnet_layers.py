"""Layers of VSLNet, most of them from question answering (QANet, Yu et al. 2018; BiDAF, Seo et al. 2017).

Shapes: B batch, N steps, L words, T items of a sequence, H width.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vmr.model.attention import MultiHeadAttention
from vmr.model.dropout import Dropout
from vmr.model.encoders import sinusoids
from vmr.model.masks import masked_softmax


class FeatureEncoder(nn.Module):
    """QANet's encoder block: positions, convolutions, self-attention, a feed-forward layer; each with a skip.

    The same weights encode words and steps.
    """

    def __init__(self, dim: int, *, heads: int, kernel: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(SeparableConvolution(dim, kernel=kernel) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, heads=heads)
        self.output_norm = nn.LayerNorm(dim)
        self.output = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), Dropout(dropout), nn.Linear(dim, dim))
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T H"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T H"]:
        """Encoded items; what stands after the end of a sequence means nothing."""
        x = x + sinusoids(x.shape[1], x.shape[2], device=x.device).to(x.dtype)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = x + self.dropout(convolution(norm(x), mask))
        normed = self.attention_norm(x)
        x = x + self.dropout(self.attention(normed, normed, mask))
        result: Tensor = x + self.dropout(self.output(self.output_norm(x)))
        return result


class SeparableConvolution(nn.Module):
    """A convolution over time for each number by itself, then a linear layer over the numbers, and a rectifier."""

    def __init__(self, dim: int, *, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; expected an odd number, so that as many items come out as go in")
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=False)
        self.pointwise = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "B T H"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T H"]:
        """As many items as came in.

        Args:
            x: the sequences.
            mask: True at real items; the others count as zeros, as do those before the first.
        """
        depthwise = self.depthwise((x * mask[..., None]).transpose(1, 2)).transpose(1, 2)
        return torch.relu(self.pointwise(depthwise))


class ContextQueryAttention(nn.Module):
    """Attention in both directions between steps V and words Q, as in QANet and BiDAF.

    With the trilinear similarity ``S = w . [V, Q, V * Q]``, ``S_r`` its softmax over the words and ``S_c`` that over
    the steps: ``A = S_r Q``, ``B = S_r S_c^T V``, and the result is a linear layer on ``[V, A, V * A, V * B]``.

    Args:
        dropout: probability of dropping a number of steps and words before they are compared.
    """

    def __init__(self, dim: int, *, dropout: float) -> None:
        super().__init__()
        self.of_steps = nn.Linear(dim, 1, bias=False)
        self.of_words = nn.Linear(dim, 1, bias=False)
        self.of_products = nn.Parameter(torch.empty(dim))
        nn.init.uniform_(self.of_products, -1 / math.sqrt(dim), 1 / math.sqrt(dim))
        self.output = nn.Linear(4 * dim, dim)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        steps: Float[Tensor, "B N H"],
        words: Float[Tensor, "B L H"],
        step_mask: Bool[Tensor, "B N"],
        word_mask: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B N H"]:
        """The words' part in every step."""
        similarity = self.similarity(self.dropout(steps), self.dropout(words))
        over_words = masked_softmax(similarity, word_mask[:, None, :], dim=2).to(steps.dtype)
        over_steps = masked_softmax(similarity, step_mask[:, :, None], dim=1).to(steps.dtype)
        step_to_word = over_words @ words
        step_to_step = over_words @ (over_steps.transpose(1, 2) @ steps)
        parts = [steps, step_to_word, steps * step_to_word, steps * step_to_step]
        result: Tensor = self.output(torch.cat(parts, dim=-1))
        return result

    def similarity(self, steps: Float[Tensor, "B N H"], words: Float[Tensor, "B L H"]) -> Float[Tensor, "B N L"]:
        """``w . [v, q, v * q]`` of every step and word, without laying out their products."""
        products = (steps * self.of_products) @ words.transpose(1, 2)
        scores: Tensor = self.of_steps(steps) + self.of_words(words).transpose(1, 2) + products
        return scores


class WeightedPooling(nn.Module):
    """One vector for a sequence: its mean by weights that are the softmax of a linear layer on its items."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1, bias=False)

    def forward(self, x: Float[Tensor, "B T H"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B H"]:
        """The weighted means."""
        weights = masked_softmax(self.score(x).squeeze(-1), mask, dim=1)
        return (weights.to(x.dtype)[:, None] @ x).squeeze(1)
