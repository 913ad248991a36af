"""DRN (Zeng et al., CVPR 2020): spans regressed at every place of a pyramid over the video.

Shapes: B queries of a batch, U different videos of them, L words, M places of all levels, T places of a level,
Q encoded word, H width.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.batch import Batch, Targets
from vmr.model.encoders import QueryEncoder, VideoEncoder
from vmr.model.grid import pooled
from vmr.model.losses import Losses
from vmr.model.masks import at_least_single, masked_softmax
from vmr.model.network import MomentNetwork
from vmr.model.prediction import ProposalPrediction
from vmr.model.spans import temporal_iou

PARTS = 32
_STRIDES = (1, 2, 4)
# The longer one of a place's two distances, in parts of the video, where the place is to find the moment.
_RANGES = ((-1.0, 6.0), (5.6, 11.0), (11.0, math.inf))


@dataclass(frozen=True)
class DrnPrediction(ProposalPrediction):
    """A span of each place."""

    match: Float[Tensor, "B M"]  # logits of lying within the moment
    distances: Float[Tensor, "B M 2"]  # from the place back to the start and on to the end, in parts of the video
    overlap: Float[Tensor, "B M"]  # logits of the temporal IoU of the span with the moment


class Drn(MomentNetwork[DrnPrediction]):
    """DRN: dense regression with three levels, and a head that says how good each span is.

    Not in the paper: features are standardised, word vectors frozen, and all layers have the width of the network (the
    authors: 256, 512 and 1024). Groups normalise instead of batches, whose means would make answers depend on batch
    mates. The overlap's last layer begins with zeros, so that the first stage ranks by matches alone. All places rank,
    those with a match below 0.05 too (the authors answer with the whole video where none is above). The overlap
    learns from positive places, too, see `losses`.

    Args:
        hidden: width of every layer (the authors: 256 to 1024).
        query_hidden: length of the states of each direction of the sentence's LSTM (the authors: 512).
        dropout: of the standardised features (the authors: none).
        lstm_dropout: after the sentence's LSTM (the authors: none).
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
        overlap_from: float,
    ) -> None:
        super().__init__()
        self.overlap_from = overlap_from
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout)
        self.commands = Commands(2 * query_hidden, hidden=hidden)
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.pyramid = Pyramid(hidden, command=2 * query_hidden)
        self.match_tower, self.span_tower = _conv(hidden, hidden), _conv(hidden, hidden)
        self.match = nn.Conv1d(hidden, 1, 3, padding=1)
        self.distances = nn.Conv1d(hidden, 2, 3, padding=1)
        self.level_scale = nn.Parameter(torch.ones(len(_STRIDES)))
        half = max(hidden // 2, 1)
        self.overlap = nn.Sequential(_conv(2 * hidden, hidden, kernel=1), _conv(hidden, half), nn.Conv1d(half, 1, 1))
        for layer in (self.match, self.distances):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.match.bias, -math.log(99.0))  # type: ignore[arg-type]
        for parameter in self.overlap[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, batch: Batch) -> DrnPrediction:
        """A span and its scores for each of the 56 places."""
        words = self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts)
        commands = self.commands(words, batch)
        parts = pooled(batch.features, batch.video_step_counts, PARTS, "max")
        steps = self.video_encoder(parts).index_select(0, batch.video)
        match, distances, overlap = [], [], []
        for level, x in enumerate(self.pyramid(steps, commands)):
            matched, spanned = self.match_tower(x), self.span_tower(x)
            match.append(self.match(matched).squeeze(1))
            distances.append(at_least_single(self.level_scale[level] * self.distances(spanned)).exp())
            overlap.append(self.overlap(torch.cat([matched, spanned], dim=1)).squeeze(1))
        matches, overlaps = (at_least_single(torch.cat(each, dim=1)) for each in (match, overlap))
        both = torch.cat(distances, dim=2).transpose(1, 2)
        score = (F.logsigmoid(matches) + F.logsigmoid(overlaps)) / 2  # of the root of the product
        return DrnPrediction.of(
            batch,
            share=torch.stack([_places(both) - both[..., 0], _places(both) + both[..., 1]], dim=2) / PARTS,
            score=score - (-torch.expm1(score)).log(),  # as a logit
            match=matches,
            distances=both,
            overlap=overlaps,
        )

    def losses(self, prediction: DrnPrediction, targets: Targets) -> Losses:
        """`match`, `span` and `overlap`, each with weight 1.

        The focal loss (alpha 0.25, gamma 2) over positive places plus queries; minus the log of the temporal IoU of the
        distances; smooth L1 of the overlap against the spans' temporal IoU, where a place is positive (not in the
        authors' code, which so teaches the overlap to say 0.95 everywhere) or its span is above `overlap_from`. As in
        that code its target has a gradient, so that the last stage moves spans by it.
        """
        true, positive = true_distances(targets.share.to(prediction.distances.dtype))
        sign = positive.to(true.dtype)
        probability = prediction.match.sigmoid()
        missed = torch.where(positive, 1.0 - probability, probability)
        each = F.binary_cross_entropy_with_logits(prediction.match, sign, reduction="none")
        count = sign.sum()
        match = ((0.75 - 0.5 * sign) * missed.square() * each).sum() / (count + len(sign))
        span = (distance_loss(prediction.distances, true) * sign).sum() / count.clamp_min(1.0)
        iou = temporal_iou(prediction.share, targets.share.to(true.dtype)[:, None])
        taught = (positive | (iou > self.overlap_from)).to(true.dtype)
        error = F.smooth_l1_loss(prediction.overlap.sigmoid(), iou, reduction="none")
        overlap = (error * taught).sum() / taught.sum().clamp_min(1.0)
        return Losses(total=match + span + overlap, parts={"match": match, "span": span, "overlap": overlap})

    def training_loss(self, batch: Batch, targets: Targets, *, stage: str) -> Losses:
        """All losses; in the first stage the total leaves out the overlap, which is not trained yet."""
        found = super().training_loss(batch, targets, stage=stage)
        if stage != "spans":
            return found
        return Losses(total=found.parts["match"] + found.parts["span"], parts=found.parts)


class Commands(nn.Module):
    """What each level looks for in the query: an attention over the words a level."""

    def __init__(self, dim: int, *, hidden: int) -> None:
        super().__init__()
        self.shared = nn.Linear(2 * dim, hidden)
        self.levels = nn.ModuleList(nn.Linear(hidden, dim) for _ in _STRIDES)
        self.weight = nn.Linear(dim, 1)

    def forward(self, words: Float[Tensor, "B L Q"], batch: Batch) -> list[Float[Tensor, "B Q"]]:
        """A sum of the words for each level."""
        row = torch.arange(len(words), device=words.device)
        last = words[row, batch.word_counts.to(words.device) - 1]
        shared = self.shared(torch.cat([words[:, 0], last], dim=1)).relu()
        found = []
        for level in self.levels:
            logits = self.weight(level(shared)[:, None] * words).squeeze(-1)
            weights = masked_softmax(logits, batch.word_mask, dim=1).to(words.dtype)
            found.append((weights[:, None] @ words).squeeze(1))
        return found


class Pyramid(nn.Module):
    """Three levels of the video, each met by its command, and a way back from the coarse to the fine (FPN)."""

    positions: Tensor

    def __init__(self, hidden: int, *, command: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(nn.Linear(command, hidden) for _ in _STRIDES)
        self.position = nn.Linear(3, hidden)
        self.down = nn.ModuleList(
            _conv(hidden if level else 2 * hidden, hidden, stride=2 if level else 1) for level in range(len(_STRIDES))
        )
        self.lateral = nn.ModuleList(_conv(hidden, hidden, kernel=1) for _ in _STRIDES)
        self.smooth = nn.ModuleList(_conv(hidden, hidden) for _ in _STRIDES)
        edge = torch.arange(PARTS + 1) / PARTS
        place = torch.stack([edge[:-1], edge[1:], torch.full((PARTS,), 1 / PARTS)], dim=1)
        self.register_buffer("positions", place, persistent=False)

    def forward(self, steps: Float[Tensor, "B T H"], commands: list[Float[Tensor, "B Q"]]) -> list[Tensor]:
        """Rows (B H T) of each level, 32, 16 and 8 of them."""
        x, levels = steps.transpose(1, 2), []
        position = self.position(self.positions.to(steps.dtype)).t().expand(len(steps), -1, -1)
        for level, (gate, down) in enumerate(zip(self.gates, self.down, strict=True)):
            x = x * gate(commands[level])[..., None]
            x = down(x if level else torch.cat([x, position.to(x.dtype)], dim=1))
            levels.append(x)
        found: list[Tensor] = []
        above: Tensor | None = None
        for level in reversed(range(len(levels))):
            above_here = 0.0 if above is None else above.repeat_interleave(2, dim=2)
            above = self.lateral[level](levels[level]) + above_here
            found.append(self.smooth[level](above))
        return found[::-1]


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution, a normalisation of groups of 16 channels (reading: 32 groups at the width 512), a rectifier."""
    groups = math.gcd(outputs, max(outputs // 16, 1))
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=kernel // 2),
        nn.GroupNorm(groups, outputs),
        nn.ReLU(),
    )


def _places(like: Tensor) -> Float[Tensor, "M"]:
    """The places of all levels, in parts of the video."""
    steps = [(torch.arange(PARTS // stride, device=like.device) + 0.5) * stride for stride in _STRIDES]
    return torch.cat(steps).to(like.dtype)


def true_distances(share: Float[Tensor, "B 2"]) -> tuple[Float[Tensor, "B M 2"], Tensor]:
    """Distances of all places from the start and the end of a moment, in parts; and True (B M) at positive places.

    A place is positive where it lies inside and the longer distance is in the range of its level: at most 6, 5.6 to
    11, at least 11. A moment of less than a part may have none.
    """
    place = _places(share)
    distances = torch.stack([place - share[:, :1] * PARTS, share[:, 1:] * PARTS - place], dim=2)
    # Made where they are used: a step that is recorded on a card may copy nothing to it.
    low, high = (
        torch.cat([place.new_full((PARTS // stride,), bound) for stride, bound in zip(_STRIDES, bounds, strict=True)])
        for bounds in zip(*_RANGES, strict=True)
    )
    longer = distances.amax(dim=2)
    inside = (distances > 0).all(dim=2)
    return distances, inside & (longer >= low) & (longer <= high)


def distance_loss(found: Float[Tensor, "... 2"], true: Float[Tensor, "... 2"]) -> Float[Tensor, "..."]:
    """Minus the logarithm of the temporal IoU of two spans around the same place; 0 where the place is outside.

    Args:
        found: distances to start and end, above 0.
        true: of the moment.

    >>> distance_loss(torch.tensor([2.0, 4.0]), torch.tensor([3.0, 3.0])).item()  # doctest: +ELLIPSIS
    0.336...
    """
    overlap = torch.minimum(found, true).sum(dim=-1)
    union = torch.maximum(found, true).sum(dim=-1)
    inside = (true > 0).all(dim=-1)
    return torch.where(inside, union / torch.where(inside, overlap, 1.0), 1.0).log()
