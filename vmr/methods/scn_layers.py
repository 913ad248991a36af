"""SCN's stacks of attention, and the choice and ranks of its proposals.

Shapes: B queries, T items of a sequence, K chosen proposals, M proposals, H width.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vmr.model.attention import MultiHeadAttention
from vmr.model.dropout import Dropout
from vmr.model.masks import at_least_single
from vmr.model.spans import temporal_iou


class Stack(nn.ModuleList):
    """Layers of causal self-attention, of attention to a memory where one is given, and of a perceptron.

    Each is added to what it reads, and the sum is normalised.

    Args:
        heads: of every attention; they need not divide the width.
    """

    def __init__(self, hidden: int, *, heads: int, layers: int, dropout: float) -> None:
        super().__init__(_Layer(hidden, heads=heads, dropout=dropout) for _ in range(layers))

    def forward(
        self,
        x: Float[Tensor, "B T H"],
        memory: Float[Tensor, "B K H"] | None = None,
        memory_mask: Bool[Tensor, "B K"] | None = None,
    ) -> Float[Tensor, "B T H"]:
        """The items, each after having seen those before it and the memory.

        Args:
            memory_mask: True at real items of it; None: all are.
        """
        for layer in self:
            x = layer(x, memory, memory_mask)
        return x


class _Layer(nn.Module):
    def __init__(self, hidden: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.own, self.other = (MultiHeadAttention(hidden, heads=heads) for _ in range(2))
        self.inner = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, hidden))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor | None, memory_mask: Tensor | None) -> Tensor:
        past = torch.ones(1, x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        x = self.norms[0](x + self.dropout(self.own(x, x, past.expand(len(x), -1, -1))))
        if memory is not None:
            seen = (
                torch.ones(memory.shape[:2], dtype=torch.bool, device=x.device) if memory_mask is None else memory_mask
            )
            x = self.norms[1](x + self.dropout(self.other(x, memory, seen)))
        result: Tensor = self.norms[2](x + self.dropout(self.inner(x)))
        return result


def ending_shares(step_counts: Int[Tensor, "B"], steps: int, widths: Sequence[float]) -> Float[Tensor, "B M 2"]:
    """Proposals that end after each step, one of each width, as shares; some begin before the video.

    >>> ending_shares(torch.tensor([8]), 8, [0.125, 0.375])[0, 2 * 2 + 1].tolist()  # ends after the third step
    [0.0, 0.375]
    """
    device = step_counts.device
    end = (torch.arange(1, steps + 1, device=device)[:, None] / step_counts[:, None, None]).expand(-1, -1, len(widths))
    return torch.stack([end - torch.tensor(widths, device=device), end], dim=3).flatten(1, 2)


def choose(
    score: Float[Tensor, "B M"],
    share: Float[Tensor, "B M 2"],
    valid_mask: Bool[Tensor, "B M"],
    *,
    count: int,
    random: Float[Tensor, "K B M"] | None = None,
    apart: float = 0.65,
) -> tuple[Int[Tensor, "B K"], Bool[Tensor, "B K"]]:
    """Proposals to complete the sentence from: the best of those left, or a random one; then near ones are left out.

    Args:
        count: how many are chosen, K.
        random: numbers whose largest is taken in place of the best, where they are not minus infinity; None: never.
        apart: temporal IoU from which on others are left out, unless no more than two would stay.

    Returns:
        Which are chosen, and True where there was one left to choose.
    """
    left, chosen, real = valid_mask, [], []
    score = at_least_single(score.detach())
    for turn in range(count):
        wanted = score
        if random is not None:
            wanted = torch.where(random[turn].isinf().all(dim=1, keepdim=True), score, random[turn])
        place = wanted.masked_fill(~left, -math.inf).argmax(dim=1, keepdim=True)
        chosen.append(place)
        real.append(left.any(dim=1, keepdim=True))
        left = left.scatter(1, place, False)
        winner = share.gather(1, place[..., None].expand(-1, 1, 2))
        far = left & (temporal_iou(share, winner) < apart)
        left = torch.where(far.sum(dim=1, keepdim=True) > 2, far, left)
    return torch.cat(chosen, dim=1), torch.cat(real, dim=1)


def rank_rewards(nll: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    """Rewards by rank: the lowest gets 1, the highest 0, the others equal parts between.

    >>> rank_rewards(torch.tensor([[2.0, 1.0, 3.0]])).tolist()
    [[0.5, 1.0, 0.0]]
    """
    size = nll.shape[1]
    place = nll.argsort(dim=1, stable=True).argsort(dim=1)
    return 1.0 - place.to(nll.dtype) / max(size - 1, 1)


def rank_loss(
    score: Float[Tensor, "B K"], rewards: Float[Tensor, "B K"], mask: Bool[Tensor, "B K"]
) -> Float[Tensor, "B"]:
    """Mean of minus the reward times the log-softmax of the proposals' probabilities.

    >>> three = torch.tensor([[0.9, 0.6, 0.3]]), torch.tensor([[0.5, 1.0, 0.0]])
    >>> round(rank_loss(*three, torch.ones(1, 3) > 0).item(), 4)
    0.5142
    """
    log_share = score.masked_fill(~mask, -math.inf).log_softmax(dim=1)
    return torch.where(mask, -rewards * log_share, 0.0).sum(dim=1) / mask.sum(dim=1)
