"""Cross interaction of words and steps: Eqs. 7 to 9, in the four readings that make them add up.

As printed, Eq. 7 gives one row a word and Eq. 8 one row a step, yet Eq. 9 puts them side by side. `alignment` says
which of them is v^q, the only one that MHA has, and how rows of words become rows of steps:

- ``swap``: v^q is the "query enriched video feature embedding" that Sec. 2.4 calls it: steps ask, words answer. The
  other one is carried back as in ``attention``, so that CI-MHA is the same network in both readings;
- ``attention``: v^q is Eq. 7 as printed: words ask, steps answer. It is carried back by its own weights, transposed
  and normalised over the words;
- ``cross``: carried back by the weights of Eq. 8;
- ``pad``: the literal reading. Both inputs have N rows (Sec. 2.4), the words being followed by rows of zeros.

Shapes: B queries of a batch, U different videos of them, N steps, L words, D width.
"""

from typing import get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.attention import MultiHeadAttention
from vmr.model.dropout import Dropout
from vmr.names import Alignment

ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)

# Of the queries' initial weights where steps ask. Not in the paper: with 1 this attention begins so nearly uniform that
# fused rows of a video differ by 2 % of their size (docs/ablation.md).
_SHARPNESS = 4.0
# Below this a sum of weights is taken for zero: a step that no word looks at gets nothing.
_SMALLEST_SUM = 1e-30


class CrossInteraction(nn.Module):
    """CI-MHA: attention from words to steps and from steps to words (Eqs. 7 and 8), side by side (Eq. 9).

    Args:
        both_ways: False for the paper's method "MHA", whose result is v^q alone. With the alignment ``cross``
            it still has Eq. 8's weights, by which v^q reaches the steps, but not Eq. 8's results.
    """

    def __init__(self, dim: int, *, heads: int, dropout: float, alignment: Alignment, both_ways: bool) -> None:
        super().__init__()
        if alignment not in ALIGNMENTS:
            raise ValueError(f"alignment is {alignment!r}; expected one of {', '.join(ALIGNMENTS)}")
        self.alignment = alignment
        self.both_ways = both_ways
        asked_by_steps = both_ways or alignment in ("swap", "cross")
        self.words_to_steps = MultiHeadAttention(dim, heads=heads) if both_ways or alignment != "swap" else None
        self.steps_to_words = MultiHeadAttention(dim, heads=heads) if asked_by_steps else None
        if self.steps_to_words is not None and alignment == "cross" and not both_ways:
            # Only its weights are used: projections that no gradient reaches would be stored for nothing.
            self.steps_to_words.output.requires_grad_(False)
        if self.steps_to_words is not None:
            with torch.no_grad():
                self.steps_to_words.query.weight.mul_(_SHARPNESS)
        self.dropout = Dropout(dropout)
        self.out_dim = 2 * dim if both_ways else dim

    def forward(
        self,
        words: Float[Tensor, "B L D"],
        steps: Float[Tensor, "U N D"],
        *,
        word_mask: Bool[Tensor, "B L"],
        step_mask: Bool[Tensor, "B N"],
        word_counts: Int[Tensor, "B"],
        video: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B N S"]:
        """The fused rows s^{v,q}, one a step.

        Args:
            words: q^ of Eq. 6.
            steps: v^ of Eq. 5, of each different video.
            video: which of the videos each query is about; by default one of each.
        """
        by_step = cross_weights = None
        if self.steps_to_words is not None and self.alignment == "cross":
            by_step, cross_weights = self.steps_to_words.with_weights(steps, words, word_mask, query_item=video)
        elif self.steps_to_words is not None:
            by_step = self.steps_to_words(steps, words, word_mask, query_item=video)
        parts = [by_step] if self.both_ways or self.alignment == "swap" else []
        if self.words_to_steps is not None:
            if self.alignment == "pad":
                # Eq. 7 with the words padded to N rows; words beyond the N-th have no row. All rows of zeros get the
                # same result, so that one of them is computed.
                zeroed = F.pad(words * word_mask[..., None], (0, 0, 0, 1))
                by_word = self.words_to_steps(zeroed, steps, step_mask, memory_item=video)
                row = torch.arange(steps.shape[1], device=steps.device).expand(len(words), -1)
                row = torch.where(row < word_counts.to(steps.device)[:, None], row, words.shape[1])
                carried = torch.gather(by_word, 1, row[..., None].expand(-1, -1, by_word.shape[-1]))
            elif cross_weights is not None:
                by_word = self.words_to_steps(words, steps, step_mask, memory_item=video)
                carried = cross_weights.to(by_word.dtype) @ by_word
            else:
                by_word, weights = self.words_to_steps.with_weights(words, steps, step_mask, memory_item=video)
                carried = carry_back(weights, word_mask).to(by_word.dtype) @ by_word
            # First in every reading: the two halves may stand in any order.
            parts.insert(0, carried)
        return torch.cat([self.dropout(part) for part in parts], dim=-1)  # Eq. 9


def carry_back(weights: Float[Tensor, "B L N"], word_mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B N L"]:
    """Weights of words for every step, from weights of steps for every word: transposed, sum 1 over the words.

    Not in the paper, which does not say how they become as many rows.
    """
    turned = (weights * word_mask[..., None]).transpose(1, 2)
    return turned / turned.sum(dim=-1, keepdim=True).clamp_min(_SMALLEST_SUM)
