"""Multi-head attention, as in "Attention is all you need"; the MHA of Eqs. 3, 4, 7 and 8.

Shapes: B batch (Bq rows of queries, Bm of memory), Q queries, K keys, H heads, D width.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with several heads.

    Not in the paper: each head has ``ceil(dim / heads)`` numbers, so that a `dim` that the heads do not divide
    (the 500 of C3D after PCA) works too; where they do divide it, this is the usual layer. There is no dropout
    on the weights.
    """

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        if dim < 1 or heads < 1:
            raise ValueError(f"attention needs at least one number and one head; found {dim} and {heads}")
        self.heads = heads
        self.head_dim = math.ceil(dim / heads)
        width = heads * self.head_dim
        self.query = nn.Linear(dim, width)
        self.key_value = nn.Linear(dim, 2 * width)
        self.output = nn.Linear(width, dim)
        for weight in (self.query.weight, *self.key_value.weight.chunk(2), self.output.weight):
            nn.init.xavier_uniform_(weight)
        for layer in (self.query, self.key_value, self.output):
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        query: Float[Tensor, "Bq Q D"],
        memory: Float[Tensor, "Bm K D"],
        memory_mask: Bool[Tensor, "B *asked K"],
        *,
        query_item: Int[Tensor, "B"] | None = None,
        memory_item: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B Q D"]:
        """Results for every query.

        Args:
            memory_mask: True at real keys, of which each item needs one; the others are not looked at. B K, or B Q K
                where each query has keys of its own.
            query_item: which row of `query` each item of the batch asks with; by default its own. Items that share
                a row share its projection.
            memory_item: likewise, which row of `memory` each item looks at.
        """
        return self._attended(query, memory, memory_mask, query_item, memory_item)[0]

    def with_weights(
        self,
        query: Float[Tensor, "Bq Q D"],
        memory: Float[Tensor, "Bm K D"],
        memory_mask: Bool[Tensor, "B *asked K"],
        *,
        query_item: Int[Tensor, "B"] | None = None,
        memory_item: Int[Tensor, "B"] | None = None,
    ) -> tuple[Float[Tensor, "B Q D"], Float[Tensor, "B Q K"]]:
        """Results as from `forward`, and the weights, mean over the heads: 0 at padded keys, sum 1 over the others."""
        results, weights = self._attended(query, memory, memory_mask, query_item, memory_item)
        return results, weights.mean(dim=1)

    def _attended(
        self, query: Tensor, memory: Tensor, memory_mask: Tensor, query_item: Tensor | None, memory_item: Tensor | None
    ) -> tuple[Float[Tensor, "B Q D"], Float[Tensor, "B H Q K"]]:
        queries, keys_values = self.query(query), self.key_value(memory)
        if query_item is not None:
            queries = queries.index_select(0, query_item)
        if memory_item is not None:
            keys_values = keys_values.index_select(0, memory_item)
        key, value = map(self._split, keys_values.chunk(2, dim=-1))
        # On sequences this short fused kernels win nothing: on a CPU they take several times as long, most of it
        # backwards; on a card cuDNN's prepares anew for every shape, for a tenth of a second, and repeats no result.
        weights = _softmax_weights(self._split(queries), key, memory_mask)
        result: Tensor = self.output((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))
        return result, weights

    def _split(self, x: Float[Tensor, "B K W"]) -> Float[Tensor, "B H K d"]:
        return x.view(*x.shape[:2], self.heads, self.head_dim).transpose(1, 2)


def _softmax_weights(
    query: Float[Tensor, "B H Q d"], key: Float[Tensor, "B H K d"], memory_mask: Bool[Tensor, "B *asked K"]
) -> Float[Tensor, "B H Q K"]:
    scores = (query @ key.transpose(-1, -2)) / math.sqrt(query.shape[-1])
    # Single precision at least: these weights are divided by each other when words are carried back to steps.
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    # The same keys for all heads, and for all queries where they have none of their own.
    seen = memory_mask[:, None, None] if memory_mask.ndim == 2 else memory_mask[:, None]
    return scores.masked_fill(~seen, -math.inf).softmax(dim=-1)
