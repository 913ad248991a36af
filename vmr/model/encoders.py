"""Encoders of words and steps: Eqs. 1 to 6.

Shapes: B batch, N steps, L words, D features, E word vector.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vmr.machine.precision import lstm_precision
from vmr.model.attention import MultiHeadAttention
from vmr.model.dropout import Dropout


class _Rows(torch.autograd.Function):
    """Rows of a tensor in another order, whose gradient takes the way back instead of being added up."""

    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, "P Q D"], there: Int[Tensor, "Q P"], back: Int[Tensor, "P Q"]
    ) -> Float[Tensor, "Q P D"]:
        """Row ``there[q, p]`` of all ``P * Q`` in place ``[q, p]``; `back` has for each row its place."""
        ctx.save_for_backward(back)
        return x.flatten(0, 1).index_select(0, there.flatten()).view(*there.shape, x.shape[-1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of `x`."""
        (back,) = ctx.saved_tensors
        gradient = gradients[0]
        return gradient.flatten(0, 1).index_select(0, back.flatten()).view(*back.shape, gradient.shape[-1]), None, None


class BiLSTM(nn.Module):
    """A bi-directional LSTM over sequences of different lengths.

    The states begin with zeros instead of the random numbers of the paper, since runs must repeat.

    Args:
        hidden: length of the states of each direction; results have twice that.
        dropout: probability of dropping a number between two LSTMs.
    """

    def __init__(self, dim: int, hidden: int, *, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.between = Dropout(between)
        self.lstm = nn.LSTM(dim, hidden, num_layers=layers, dropout=between, batch_first=True, bidirectional=True)

    def forward(self, x: Float[Tensor, "B T D"], counts: Int[Tensor, "B"]) -> Float[Tensor, "B T H"]:
        """States of both directions, zeros after the end of a sequence."""
        # Packed sequences go through several small kernels a step; whole ones through one that is fused, on a CPU in
        # two thirds of the time (measured), and on a card they can be recorded (`vmr.training.step`). What a direction
        # reads after a sequence's end changes nothing before it.
        # They read and write step by step: the sequences are mirrored and laid out so in one go.
        counts = counts.to(x.device)[:, None]
        item, step = (torch.arange(size, device=x.device) for size in x.shape[:2])
        mirrored = torch.where(step < counts, counts - 1 - step, step)
        by_step = (mirrored + x.shape[1] * item[:, None]).t()
        by_item = mirrored * len(x) + item[:, None]
        for layer in range(self.lstm.num_layers):
            x = self.between(x) if layer else x
            forward = self._one_way(x.transpose(0, 1), f"_l{layer}").transpose(0, 1)
            backward = self._one_way(_Rows.apply(x, by_step, by_item), f"_l{layer}_reverse")
            x = torch.cat([forward, _Rows.apply(backward, by_item, by_step)], dim=2)
        return x.mul_((step < counts)[..., None])

    def _one_way(self, x: Float[Tensor, "T B D"], name: str) -> Float[Tensor, "T B H"]:
        weights = [getattr(self.lstm, kind + name) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        x, precision = lstm_precision(x)
        zeros = x.new_zeros(1, x.shape[1], self.lstm.hidden_size)
        with precision:
            states: Tensor = torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, self.training, False, False)[0]
        return states


def last_states(states: Float[Tensor, "B T H"], counts: Int[Tensor, "B"]) -> Float[Tensor, "B H"]:
    """What each direction of a bi-LSTM says at its end: forwards at the last item, backwards at the first."""
    half = states.shape[-1] // 2
    row = torch.arange(len(states), device=states.device)
    return torch.cat([states[row, counts.to(states.device) - 1, :half], states[:, 0, half:]], dim=-1)


class WordVectors(nn.Module):
    """Frozen word vectors, with one trained vector for all unknown words."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.unknown = nn.Parameter(torch.empty(dim))
        nn.init.normal_(self.unknown, std=0.1)

    def embed(self, words: Float[Tensor, "B L E"], unknown_mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L E"]:
        """The vectors of all words.

        Args:
            words: frozen word vectors; what they hold at unknown words does not matter.
        """
        return torch.where(unknown_mask[..., None], self.unknown.to(words.dtype), words)


class QueryEncoder(WordVectors):
    """Words to q_0: word vectors and a bi-LSTM (Eq. 2).

    Args:
        hidden: length of the states of each direction.
        dropout: probability of dropping one of the results.
        between: probability of dropping a number between two LSTMs.
    """

    def __init__(
        self, word_dim: int, *, hidden: int, dropout: float = 0.0, layers: int = 1, between: float = 0.0
    ) -> None:
        super().__init__(word_dim)
        self.lstm = BiLSTM(word_dim, hidden, layers=layers, dropout=between)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        words: Float[Tensor, "B L E"],
        unknown_mask: Bool[Tensor, "B L"],
        counts: Int[Tensor, "B"],
    ) -> Float[Tensor, "B L D"]:
        """Encoded words, zeros after the last."""
        states: Tensor = self.dropout(self.lstm(self.embed(words, unknown_mask), counts))
        return states


class FeatureScale(nn.Module):
    """Features of steps, standardised by the training videos.

    Not in the paper: the features of a 3D network share a large common part, which makes all steps look alike
    (docs/decisions.md has the figures). Every method gets them so.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    @torch.no_grad()
    def fit(self, videos: Iterable[Float[Tensor, "_ D"]]) -> None:
        """Take mean and scale from the features of the training videos; without any, they stay 0 and 1.

        Numbers that hardly vary are not blown up: a twentieth of the overall deviation is added to each scale.
        """
        steps = 0
        total = torch.zeros(self.mean.shape, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for features in videos:
            rows = features.to("cpu", torch.float64)
            steps += len(rows)
            total += rows.sum(dim=0)
            squares += rows.square().sum(dim=0)
        if not steps:
            return
        mean = total / steps
        overall = squares.mean() / steps - mean.mean().square()
        deviation = (squares / steps - mean.square()).clamp_min(0.0).sqrt()
        scale = deviation + 0.05 * overall.clamp_min(0.0).sqrt()
        self.mean.copy_(mean)
        # Features that are all one number have no deviation to divide by.
        self.scale.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))

    def standardised(self, features: Float[Tensor, "U N D"]) -> Float[Tensor, "U N D"]:
        """The features less their mean, divided by their scale."""
        # Single precision: subtracting a large mean in bfloat16 would leave little of the rest.
        return (features.to(self.mean.dtype) - self.mean) / self.scale


class VideoEncoder(FeatureScale):
    """Features of steps to v_0 (Eq. 1): standardised, then one linear layer to the width of the network.

    Not in the paper, which has the features themselves as v_0: an attention as wide as the features has eight
    times the weights of the rest, which learn the training videos by heart (docs/decisions.md has the figures).
    """

    def __init__(self, dim: int, *, hidden: int, dropout: float) -> None:
        super().__init__(dim)
        self.dropout = Dropout(dropout)
        self.projection = nn.Linear(dim, hidden)

    def forward(self, features: Float[Tensor, "U N D"]) -> Float[Tensor, "U N H"]:
        """v_0 of every step."""
        result: Tensor = self.projection(self.dropout(self.standardised(features)))
        return result


class SelfInteraction(nn.Module):
    """Self-attention with a skip connection: Eq. 3 for words, Eq. 4 for steps."""

    def __init__(self, dim: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(dim, heads=heads)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """``MHA(x, x, x) + x``."""
        result: Tensor = self.dropout(self.attention(x, x, mask)) + x
        return result


class FeedForward(nn.Sequential):
    """The feed-forward layer of Eqs. 5 and 6.

    The paper does not say what is in it; this is the two-layer one that goes with multi-head attention, with the
    layer normalisation that goes with it there. Its weights begin so that numbers keep their size (He and
    Glorot). Without these, every attention of Eqs. 7 and 8 begins as a plain mean over time, all steps look
    alike, and learning takes three times as long to set off (docs/decisions.md).
    """

    def __init__(self, dim: int, *, hidden: int, dropout: float) -> None:
        inner, outer = nn.Linear(dim, hidden), nn.Linear(hidden, hidden)
        rectified(inner)
        nn.init.xavier_normal_(outer.weight)
        for layer in (inner, outer):
            nn.init.zeros_(layer.bias)
        super().__init__(inner, nn.ReLU(), Dropout(dropout), outer, nn.LayerNorm(hidden))


class PositionalEncoding(nn.Module):
    """One trained vector for every position, as in BERT (Sec. 2.2, Eq. 5)."""

    def __init__(self, max_steps: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(max_steps, dim))
        # BERT normalises after the sum of vectors drawn alike. What these are added to is of size 1 already.
        nn.init.normal_(self.embedding, std=0.1)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """The steps, the vector of its position added to each.

        Raises:
            ValueError: there are more than positions.
        """
        steps = x.shape[1]
        if steps > len(self.embedding):
            raise ValueError(f"a video of {steps} steps; this model was made for {len(self.embedding)} at most")
        return x + self.embedding[:steps]


def rectified(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> nn.Module:
    """The layer, whose weights begin so that numbers keep their size through a rectifier (He)."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer


def sinusoids(length: int, dim: int, *, device: torch.device | str = "cpu") -> Float[Tensor, "T H"]:
    """Sines and cosines of the position at wavelengths from 2 pi to 20,000 pi ("Attention is all you need"); float64.

    Args:
        dim: numbers a position; the first half are sines.
    """
    half = (dim + 1) // 2
    speed = torch.exp(-math.log(10_000.0) * torch.arange(half, device=device, dtype=torch.float64) / max(half - 1, 1))
    angle = torch.arange(length, device=device)[:, None] * speed
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :dim]
