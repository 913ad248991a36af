"""CTRL (Gao et al., ICCV 2017): sliding windows matched with the sentence, each with offsets of its boundaries.

Shapes: B queries of a batch, U different videos of them, N steps, M windows, H width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.batch import Batch, PairTargets, Targets
from vmr.model.encoders import QueryEncoder, VideoEncoder, last_states
from vmr.model.grid import interval_means
from vmr.model.losses import Losses
from vmr.model.masks import at_least_single
from vmr.model.network import GridNetwork
from vmr.model.prediction import ProposalPrediction
from vmr.model.spans import temporal_iou

# Windows that training takes for a moment, as in the authors' code.
_LOWEST_IOU, _MOST_OUTSIDE = 0.5, 0.15


@dataclass(frozen=True)
class CtrlPrediction(ProposalPrediction):
    """Moved windows with their scores."""

    windows: Float[Tensor, "B M H"]  # vector of each window, of length 1
    sentence: Float[Tensor, "B H"]  # vector of the query, of length 1


class Ctrl(GridNetwork[CtrlPrediction]):
    """Cross-modal temporal regression localizer, with offsets that are not parametrised.

    Not in the paper: windows are shares of the video (an eighth, a quarter, a half, at strides of a fifth of their
    length) instead of 64 to 512 frames, and the sentence is read by a bi-LSTM instead of skip-thoughts. The context
    on either side is as long as the shortest window; without any the window is its own context, as in the
    authors' code. Offsets are in steps instead of frames. Queries about one video are no negatives of each other, and
    the loss is a mean over queries instead of pairs, so that it does not shrink as batches grow.

    Args:
        hidden: width of both vectors and of the fused layer (the paper: 1024 and 1000).
    """

    before: Tensor
    after: Tensor

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        hidden: int,
        query_hidden: int,
        dropout: float,
        lstm_dropout: float,
        offset_weight: float,
    ) -> None:
        super().__init__()
        self.offset_weight = offset_weight
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout)
        # One layer on context, window and context, of which each takes the steps' part: means come afterwards.
        self.video_encoder = VideoEncoder(video_dim, hidden=3 * hidden, dropout=dropout)
        self.of_sentence = nn.Linear(2 * query_hidden, hidden)
        self.fused = nn.Linear(4 * hidden, hidden)
        self.output = nn.Linear(hidden, 3)
        shares = torch.tensor(windows(), dtype=torch.float64)
        for name, tensor in zip(("shares", "before", "after"), (shares, *contexts(shares)), strict=True):
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, batch: Batch) -> CtrlPrediction:
        """Score and offsets of every window."""
        encoded = self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts)
        sentence = F.normalize(self.of_sentence(last_states(encoded, batch.word_counts)), dim=1)
        own, before, after = self.video_encoder(batch.features).chunk(3, dim=2)
        counts = batch.video_step_counts
        found = (
            interval_means(own, counts, self.shares)
            + interval_means(before, counts, self.before)
            + interval_means(after, counts, self.after)
        )
        windows = F.normalize(found, dim=2).index_select(0, batch.video)
        score, offsets = self.matched(windows, sentence[:, None])
        share = self.shares.to(score.dtype) + offsets / batch.step_counts.to(score.device)[:, None, None]
        return CtrlPrediction.of(
            batch, share=share, score=score, windows=at_least_single(windows), sentence=at_least_single(sentence)
        )

    def matched(
        self, windows: Float[Tensor, "*#B H"], sentence: Float[Tensor, "*#B H"]
    ) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B 2"]]:
        """Scores of windows for sentences, and offsets of start and end in steps."""
        of_product, of_sum, of_window, of_sentence = self.fused.weight.chunk(4, dim=1)
        # The layer on [v * s, v + s, v, s], without laying the four out.
        hidden = F.linear(windows * sentence, of_product, self.fused.bias)
        hidden = hidden + F.linear(windows, of_sum + of_window) + F.linear(sentence, of_sum + of_sentence)
        found = at_least_single(self.output(torch.relu(hidden)))
        return found[..., 0], found[..., 1:]

    def losses(self, prediction: CtrlPrediction, targets: Targets) -> Losses:
        """`match`: of every query with a window of every other; `offset`: absolute error of the own windows' offsets.

        A query has one window, in training drawn of those that fit, else the best.
        """
        shares = self.shares.to(prediction.score.dtype)
        moments = targets.share.to(shares.dtype)
        fits, iou = fitting(shares, moments)
        value = torch.where(fits, 1.0 + torch.rand_like(iou), iou) if self.training else iou + fits
        window = value.argmax(dim=1)
        chosen = prediction.windows.gather(1, window[:, None, None].expand(-1, 1, prediction.windows.shape[2]))
        score, offsets = self.matched(chosen.squeeze(1)[None], prediction.sentence[:, None])
        counts = targets.step_counts.to(shares.device)[:, None]
        wanted = (moments - shares[window]) * counts
        match = match_loss(score, targets)
        offset = (offsets.diagonal(dim1=0, dim2=1).t() - wanted).abs().sum(dim=1).mean()
        return Losses(total=match + self.offset_weight * offset, parts={"match": match, "offset": offset})


def match_loss(score: Float[Tensor, "B B"], targets: PairTargets) -> Float[Tensor, ""]:
    """Logistic loss of each query's own window and of those of other videos, which together weigh as much.

    As in the paper the own pair weighs 1 more than its share in the mean over all pairs.

    Args:
        score: of every query (row) with the window of every query (column).
        targets: tell which queries are about the same video; they are no negatives.
    """
    own = torch.eye(len(score), dtype=torch.bool, device=score.device)
    pairs = own | ~targets.same_video
    each = F.softplus(torch.where(own, -score, score)) * pairs
    return (each.diagonal() + each.sum(dim=1) / pairs.sum(dim=1)).mean()


def fitting(
    shares: Float[Tensor, "M 2"], moments: Float[Tensor, "B 2"]
) -> tuple[Bool[Tensor, "B M"], Float[Tensor, "B M"]]:
    """Which windows training may take for each moment, and their IoU.

    Those with an IoU above 0.5 and less than 0.15 of their length outside of the moment.

    >>> shares = torch.tensor([[0.0, 128.0]])
    >>> fits, iou = fitting(shares, torch.tensor([[20.0, 140.0], [10.0, 140.0]]))
    >>> fits[:, 0].tolist(), [round(value, 4) for value in iou[:, 0].tolist()]
    ([False, True], [0.7714, 0.8429])
    """
    iou = temporal_iou(shares[None], moments[:, None])
    begin = torch.maximum(shares[:, 0], moments[:, :1])
    end = torch.minimum(shares[:, 1], moments[:, 1:])
    outside = 1.0 - (end - begin).clamp_min(0.0) / (shares[:, 1] - shares[:, 0])
    return (iou > _LOWEST_IOU) & (outside < _MOST_OUTSIDE), iou


def windows() -> list[tuple[float, float]]:
    """Windows as shares of the video: of an eighth, a quarter and a half, at strides of a fifth of their length.

    >>> len(windows())
    58
    """
    return [
        (first / (5 * parts), (first + 5) / (5 * parts)) for parts in (8, 4, 2) for first in range(5 * (parts - 1) + 1)
    ]


def contexts(shares: Float[Tensor, "M 2"]) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 2"]]:
    """What lies before and after each window, as long as the shortest window; the window itself where nothing does.

    >>> before, after = contexts(torch.tensor([[0.0, 0.25], [0.125, 0.625]]))
    >>> before.tolist(), after.tolist()
    ([[0.0, 0.25], [0.0, 0.125]], [[0.25, 0.5], [0.625, 0.875]])
    """
    length = (shares[:, 1] - shares[:, 0]).min()
    before = torch.stack([(shares[:, 0] - length).clamp_min(0.0), shares[:, 0]], dim=1)
    after = torch.stack([shares[:, 1], (shares[:, 1] + length).clamp_max(1.0)], dim=1)
    return tuple(torch.where(side[:, 1:] > side[:, :1], side, shares) for side in (before, after))  # type: ignore[return-value]
