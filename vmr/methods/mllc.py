"""MLLC (Hendricks et al., EMNLP 2018): moments compared with a context, which is latent: the one that suits them best.

Shapes: B queries of a batch, U different videos of them, M moments (and contexts), K of them, D features, H width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.batch import Batch, Targets
from vmr.model.dropout import Dropout
from vmr.model.encoders import FeatureScale, QueryEncoder, last_states
from vmr.model.grid import pooled
from vmr.model.losses import Losses, mean_where
from vmr.model.masks import at_least_single
from vmr.model.network import GridNetwork
from vmr.model.prediction import ProposalPrediction
from vmr.model.spans import temporal_iou


@dataclass(frozen=True)
class MllcPrediction(ProposalPrediction):
    """Moments with their scores, and what scores are made of."""

    moments: Float[Tensor, "B M H"]  # rows of the moments of each query's video
    contexts: Float[Tensor, "B M H"]  # rows of the same spans as contexts
    sentence: Float[Tensor, "B H"]  # row of the query


class Mllc(GridNetwork[MllcPrediction]):
    """Moment localization with latent context: the best context of all gives each moment its score.

    Not in the paper: features are standardised, a bi-LSTM reads the sentence, and Adam trains. No data set here names
    contexts, so the loss that ranks those of TEMPO is left out; so is late fusion with flow. The drawn negative of the
    same video overlaps the moment by at most `near_iou` (reading); in evaluation all such count. Dropout is of features
    and before the last layer, not of every pair. Moment and context enter the first layer as a sum of two, so that the
    M x M pairs of a query are never multiplied by a matrix.

    Args:
        hidden: width of the layers (the authors: 500).
        query_hidden: length of the states of each direction of the sentence's LSTM (the authors: 1000 one way).
        dropout: of the standardised features and before the last layer (the authors: 0.3).
        clips: equal parts of the video, T; every run of them is a moment and a context (the authors: 6).
        near_iou: temporal IoU above which another moment of the video is no negative (the authors: 1).
    """

    ends: Tensor
    means: Tensor

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        hidden: int,
        query_hidden: int,
        dropout: float,
        lstm_dropout: float,
        clips: int,
        margin: float,
        other_video: float,
        near_iou: float,
    ) -> None:
        super().__init__()
        self.clips, self.margin, self.other_video, self.near_iou = clips, margin, other_video, near_iou
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout)
        self.video_encoder = FeatureScale(video_dim)
        self.dropout = Dropout(dropout)
        self.of_moment = nn.Linear(video_dim + 2, hidden)
        self.of_context = nn.Linear(video_dim + 2, hidden, bias=False)
        self.of_sentence = nn.Linear(2 * query_hidden, hidden)
        self.matched = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1)
        runs = [(first, first + length) for length in range(1, clips + 1) for first in range(clips - length + 1)]
        clip = torch.arange(clips)
        inside = torch.stack([((first <= clip) & (clip < last)) / (last - first) for first, last in runs])
        shares = torch.tensor(runs, dtype=torch.float64) / clips
        ends = shares - torch.tensor([0.0, 1.0 / clips], dtype=torch.float64)  # where the first and the last clip begin
        for name, tensor in (("shares", shares), ("ends", ends), ("means", inside)):
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, batch: Batch) -> MllcPrediction:
        """The score of every moment with its best context."""
        encoded = self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts)
        sentence = at_least_single(self.of_sentence(last_states(encoded, batch.word_counts)))
        features = self.video_encoder.standardised(batch.features)
        clips = pooled(features, batch.video_step_counts, self.clips, "mean")
        rows = self.dropout(self.described(clips))
        moments, contexts = (
            at_least_single(layer(rows).index_select(0, batch.video)) for layer in (self.of_moment, self.of_context)
        )
        score = self.scores(moments, contexts, sentence).amax(dim=2)
        return MllcPrediction.of(
            batch, share=self.shares, score=score, moments=moments, contexts=contexts, sentence=sentence
        )

    def described(self, clips: Float[Tensor, "U T D"]) -> Float[Tensor, "U M G"]:
        """Each run of clips: its mean at length 1, and where its first and its last clip begin, as shares."""
        means = F.normalize(self.means.to(clips.dtype) @ clips, dim=2)
        return torch.cat([means, self.ends.to(clips.dtype).expand(len(clips), -1, -1)], dim=2)

    def scores(
        self, moments: Float[Tensor, "B K H"], contexts: Float[Tensor, "B M H"], sentence: Float[Tensor, "B H"]
    ) -> Float[Tensor, "B K M"]:
        """Of each moment with each context.

        The product of their sum with the sentence is brought to length 1, then goes through a perceptron.
        """
        own, other = (rows * sentence[:, None] for rows in (moments, contexts))
        squares = own.square().sum(dim=2)[:, :, None] + other.square().sum(dim=2)[:, None]
        length = (squares + 2 * own @ other.transpose(1, 2)).clamp_min(1e-12).sqrt()
        weight = self.matched.weight
        both = at_least_single(F.linear(own, weight))[:, :, None] + at_least_single(F.linear(other, weight))[:, None]
        # Times the length, which the rectifier lets through: one map of pairs less.
        hidden = torch.relu(torch.addcmul(both, length[..., None], self.matched.bias.to(both.dtype)))
        summed = F.linear(self.dropout(hidden), self.score.weight).squeeze(-1)
        return at_least_single(summed) / length + self.score.bias

    def losses(self, prediction: MllcPrediction, targets: Targets) -> Losses:
        """`moment`: hinge between the best moment and another; `video`: between it and its span of another video."""
        dtype = prediction.score.dtype
        iou = temporal_iou(self.shares.to(dtype)[None], targets.share.to(dtype)[:, None])
        best = iou.argmax(dim=1, keepdim=True)
        right = prediction.score.gather(1, best)
        far = (iou <= self.near_iou).scatter(1, best, False)
        hinges = (self.margin - right + prediction.score).clamp_min(0.0)
        moment = mean_where(hinges, drawn(far) if self.training else far)
        negatives = targets.negatives
        moments, contexts = prediction.moments[negatives], prediction.contexts[negatives]
        # Sentences with the videos of others, of which only the span of their own moment is looked at.
        same = moments.gather(2, best[:, None, :, None].expand(-1, moments.shape[1], -1, moments.shape[3]))
        sentences = prediction.sentence[:, None].expand_as(same[:, :, 0])
        wrong = self.scores(*(rows.flatten(0, 1) for rows in (same, contexts, sentences))).amax(dim=2)
        video = mean_where((self.margin - right + wrong.view_as(negatives)).clamp_min(0.0), targets.negative_mask)
        total = (1.0 - self.other_video) * moment + self.other_video * video
        return Losses(total=total, parts={"moment": moment, "video": video})


def drawn(mask: Bool[Tensor, "B M"]) -> Bool[Tensor, "B M"]:
    """One of the true places of each row, by chance; none where there is none."""
    place = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1.0).argmax(dim=1, keepdim=True)
    return torch.zeros_like(mask).scatter(1, place, True) & mask
