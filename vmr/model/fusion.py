"""Cross interaction of words and steps: Eqs. 7 to 9, in the three readings that make them add up.

Eq. 7 gives one row a word and Eq. 8 one row a step, yet Eq. 9 puts them side by side. `alignment` says how the
rows of Eq. 7 become rows of steps:

- ``attention``: carried back by Eq. 7's own weights, transposed and normalised over the words;
- ``cross``: carried back by the weights of Eq. 8;
- ``pad``: the literal reading. Both inputs have N rows (Sec. 2.4), the words being followed by rows of zeros.

Shapes: B queries of a batch, U different videos of them, N steps, L words, D width.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.attention import MultiHeadAttention
from vmr.model.dropout import Dropout
from vmr.names import Alignment

ALIGNMENTS: tuple[Alignment, ...] = ("attention", "cross", "pad")

# Below this a sum of weights is taken for zero: a step that no word looks at gets nothing.
_SMALLEST_SUM = 1e-30


class CrossInteraction(nn.Module):
    """CI-MHA: attention from words to steps (Eq. 7) and from steps to words (Eq. 8), side by side (Eq. 9).

    Args:
        dim: length of the rows of both modalities.
        heads: heads of both attentions.
        dropout: probability of dropping one of the results of an attention.
        alignment: reading of Eqs. 7 to 9.
        both_ways: False for the paper's method "MHA", whose result is v^q alone. With the alignment ``cross``
            it still has Eq. 8's weights, by which v^q reaches the steps, but not Eq. 8's results.
    """

    def __init__(self, dim: int, *, heads: int, dropout: float, alignment: Alignment, both_ways: bool) -> None:
        super().__init__()
        if alignment not in ALIGNMENTS:
            raise ValueError(f"alignment is {alignment!r}; expected one of {', '.join(ALIGNMENTS)}")
        self.alignment = alignment
        self.both_ways = both_ways
        self.words_to_steps = MultiHeadAttention(dim, heads=heads)
        self.steps_to_words = MultiHeadAttention(dim, heads=heads) if both_ways or alignment == "cross" else None
        if self.steps_to_words is not None and not both_ways:
            # Only its weights are used: projections that no gradient reaches would be stored for nothing.
            self.steps_to_words.output.requires_grad_(False)
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
            word_mask: True at real words.
            step_mask: True at real steps.
            word_counts: words of each query.
            video: which of the videos each query is about; by default one of each.
        """
        q_v, cross_weights = self._steps_to_words(steps, words, word_mask, video)
        if self.alignment == "pad":
            v_q = self._padded_words_to_steps(words, steps, word_mask, step_mask, word_counts, video)
        elif self.alignment == "attention":
            by_word, weights = self.words_to_steps.with_weights(words, steps, step_mask, memory_item=video)  # Eq. 7
            v_q = carry_back(weights, word_mask).to(by_word.dtype) @ by_word
        else:
            assert cross_weights is not None
            by_word = self.words_to_steps(words, steps, step_mask, memory_item=video)  # Eq. 7
            v_q = cross_weights.to(by_word.dtype) @ by_word
        parts = [v_q] if q_v is None else [v_q, q_v]
        return torch.cat([self.dropout(part) for part in parts], dim=-1)  # Eq. 9

    def _steps_to_words(
        self,
        steps: Float[Tensor, "U N D"],
        words: Float[Tensor, "B L D"],
        word_mask: Bool[Tensor, "B L"],
        video: Int[Tensor, "B"] | None,
    ) -> tuple[Float[Tensor, "B N D"] | None, Float[Tensor, "B N L"] | None]:
        """Results and weights of Eq. 8, each only where it is needed."""
        if self.steps_to_words is None:
            return None, None
        if not self.both_ways:
            return None, self.steps_to_words.weights(steps, words, word_mask, query_item=video)
        if self.alignment == "cross":
            return self.steps_to_words.with_weights(steps, words, word_mask, query_item=video)
        return self.steps_to_words(steps, words, word_mask, query_item=video), None

    def _padded_words_to_steps(
        self,
        words: Float[Tensor, "B L D"],
        steps: Float[Tensor, "U N D"],
        word_mask: Bool[Tensor, "B L"],
        step_mask: Bool[Tensor, "B N"],
        word_counts: Int[Tensor, "B"],
        video: Int[Tensor, "B"] | None,
    ) -> Float[Tensor, "B N D"]:
        """Eq. 7 with the words padded to N rows; words beyond the N-th have no row.

        All rows of zeros get the same result, so that one of them is computed.
        """
        zeroed = words * word_mask[..., None]
        by_word = self.words_to_steps(F.pad(zeroed, (0, 0, 0, 1)), steps, step_mask, memory_item=video)  # Eq. 7
        row = torch.arange(steps.shape[1], device=steps.device).expand(len(words), -1)
        row = torch.where(row < word_counts.to(steps.device)[:, None], row, words.shape[1])
        return torch.gather(by_word, 1, row[..., None].expand(-1, -1, by_word.shape[-1]))


def carry_back(weights: Float[Tensor, "B L N"], word_mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B N L"]:
    """Weights of words for every step, from weights of steps for every word: transposed, sum 1 over the words.

    Not in the paper: the alignment ``attention`` of DESIGN.

    Args:
        weights: non-negative.
        word_mask: True at real words; the others get no weight.
    """
    turned = (weights * word_mask[..., None]).transpose(1, 2)
    return turned / turned.sum(dim=-1, keepdim=True).clamp_min(_SMALLEST_SUM)
