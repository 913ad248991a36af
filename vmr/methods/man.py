"""MAN (Zhang et al., CVPR 2019): candidates of a pyramid that the query filters, and a graph between them.

Shapes: B queries of a batch, U different videos of them, M candidates, H width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.batch import Batch, Targets
from vmr.model.encoders import QueryEncoder, VideoEncoder, rectified
from vmr.model.grid import equal_parts, pooled
from vmr.model.losses import Losses
from vmr.model.masks import at_least_single
from vmr.model.network import GridNetwork
from vmr.model.offsets import moved, offsets_between
from vmr.model.prediction import ProposalPrediction
from vmr.model.spans import temporal_iou

_POSITIVE_IOU = 0.5


@dataclass(frozen=True)
class ManPrediction(ProposalPrediction):
    """Moved candidates with their scores."""

    # shift of the centre in lengths of the candidate, and logarithm of the factor of its length
    offsets: Float[Tensor, "B M 2"]


class Man(GridNetwork[ManPrediction]):
    """Moment alignment network.

    There is no released code, and the paper could not be read: all but the idea (filters of the query, a pyramid
    of candidates, a graph adjusted in iterations, learnt end to end) is a reading. Here a bi-LSTM reads the query; its
    filters are averaged over the words, so that widths do not depend on their number, and multiply the parts of the
    video; `MomentGraph` has the readings of the graph. A moment that no candidate overlaps by more than 0.5 has the
    best one as its positive.

    Args:
        hidden: width of the pyramid and the graph (reading: 512).
        parts: of the video in the finest level, a power of two; 16 make 31 candidates, as DRN's code has them of MAN.
        offset_weight: weight of the offsets' loss (reading: 1; perhaps 0.005 in the paper, whose unit is not known).

    Raises:
        ValueError: `parts` is no power of two.
    """

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        hidden: int,
        query_hidden: int,
        dropout: float,
        lstm_dropout: float,
        parts: int,
        iterations: int,
        offset_weight: float,
    ) -> None:
        super().__init__()
        if parts & (parts - 1):
            raise ValueError(f"parts is {parts}; expected a power of two, so that each level halves the one below")
        self.parts, self.offset_weight = parts, offset_weight
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout)
        self.filters = nn.Linear(2 * query_hidden, hidden)
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.levels = nn.ModuleList(
            rectified(nn.Conv1d(hidden, hidden, 3, padding=1)) for _ in range(parts.bit_length())
        )
        self.graph = MomentGraph(hidden, iterations=iterations)
        self.output = nn.Linear(hidden, 3)
        shares = equal_parts(parts >> level for level in range(parts.bit_length()))
        self.register_buffer("shares", shares, persistent=False)

    def forward(self, batch: Batch) -> ManPrediction:
        """Score and offsets of every candidate."""
        words = self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts)
        filters = torch.tanh(self.filters(words)) * batch.word_mask[..., None]
        mean = filters.sum(dim=1) / batch.word_counts.to(filters.device)[:, None]
        parts = self.video_encoder(pooled(batch.features, batch.video_step_counts, self.parts, "mean"))
        x = (parts.index_select(0, batch.video) * mean[:, None]).transpose(1, 2)
        found = []
        for number, level in enumerate(self.levels):
            x = torch.relu(level(F.max_pool1d(x, 2) if number else x))
            found.append(x)
        adjusted = self.graph(torch.cat(found, dim=2).transpose(1, 2))
        output = at_least_single(self.output(adjusted))
        # Below 1: a candidate that overlaps a moment by half is off by less.
        score, offsets = output[..., 0], torch.tanh(output[..., 1:])
        share = moved(self.shares.to(score.dtype), offsets)
        return ManPrediction.of(batch, share=share, score=score, offsets=offsets)

    def losses(self, prediction: ManPrediction, targets: Targets) -> Losses:
        """`match`: cross entropy of each candidate's being positive; `offset`: smooth L1 of the positives' offsets.

        Positive are those with a temporal IoU above 0.5, and the best one.
        """
        shares = self.shares.to(prediction.score.dtype)[None]
        moments = targets.share.to(shares.dtype)[:, None]
        iou = temporal_iou(shares, moments)
        positive = (iou > _POSITIVE_IOU).scatter(1, iou.argmax(dim=1, keepdim=True), True).to(shares.dtype)
        match = F.binary_cross_entropy_with_logits(prediction.score, positive)
        wanted = offsets_between(shares, moments)
        each = F.smooth_l1_loss(prediction.offsets, wanted, reduction="none").sum(dim=2) * positive
        offset = (each.sum(dim=1) / positive.sum(dim=1)).mean()
        return Losses(total=match + self.offset_weight * offset, parts={"match": match, "offset": offset})


class MomentGraph(nn.Module):
    """Candidates that learn from each other over edges, which are adjusted in every iteration (all readings).

    ``A_l = tanh(A_{l-1} + norm(X_{l-1} W X_{l-1}^T))`` and ``X_l = relu(A_l X_0 V)``: edges begin with each candidate's
    own alone, and every iteration carries the first rows. `norm` is the signed square root, then length 1.
    """

    def __init__(self, dim: int, *, iterations: int) -> None:
        super().__init__()
        self.relations = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(iterations))
        self.outputs = nn.ModuleList(rectified(nn.Linear(dim, dim, bias=False)) for _ in range(iterations))

    def forward(self, candidates: Float[Tensor, "B M H"]) -> Float[Tensor, "B M H"]:
        """The candidates after the last iteration."""
        x = candidates
        edges = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        for relation, output in zip(self.relations, self.outputs, strict=True):
            edges = torch.tanh(edges + rooted(at_least_single(relation(x) @ x.transpose(1, 2))).to(x.dtype))
            x = torch.relu(output(edges @ candidates))
        return x


def rooted(x: Float[Tensor, "*B M"]) -> Float[Tensor, "*B M"]:
    """Roots with the sign of each number, ``x / sqrt(|x| + 0.0001)`` for a slope without poles, brought to length 1.

    >>> [round(value, 4) for value in rooted(torch.tensor([4.0, -9.0])).tolist()]
    [0.5547, -0.8321]
    """
    return F.normalize(x / (x.abs() + 1e-4).sqrt(), dim=-1)
