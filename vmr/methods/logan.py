"""LoGAN (Tan et al., WACV 2021): frames that know the words and each other, learnt from pairs of video and sentence.

Shapes: B queries of a batch, R negatives of each, N steps, L words, M windows, H width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.batch import Batch, PairTargets
from vmr.model.encoders import QueryEncoder, VideoEncoder, sinusoids
from vmr.model.grid import interval_means
from vmr.model.losses import Losses
from vmr.model.masks import at_least_single, masked_softmax, valid_mask
from vmr.model.network import GridNetwork
from vmr.model.prediction import ProposalPrediction

# Inverse temperature of attentions and of log-sum-exp (reading: those of SCAN, on which the method builds).
_SHARPNESS, _FOCUS = 9.0, 6.0


@dataclass(frozen=True)
class LoganPrediction(ProposalPrediction):
    """Windows by the relevance of their frames, and what the relevance of other pairs is made of."""

    relevance: Float[Tensor, "B N"]
    frames: Float[Tensor, "B N H"]
    words: Float[Tensor, "B L H"]
    word_counts: Int[Tensor, "B"]


class Logan(GridNetwork[LoganPrediction]):
    """LoGAN, latent graph co-attention: no span is seen in training.

    There is no released code, and the paper could not be read: all but the idea (frames meet words, then each other in
    a graph that the words condition, with positions of frames) is a reading. A frame's relevance is the cosine between
    it, after all, and the words that it attends to. Averages of relevance are ``log(mean(exp(c r))) / c``, over a
    video for pairs and over a window for answers, so that length alone wins nothing. Each query has one wrong
    video and one wrong sentence, drawn; the attention of every pair is computed anew, so a step computes three pairs a
    query.

    Args:
        hidden: width (reading: 512).
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
        passes: int,
        margin: float,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout)
        self.of_words = nn.Linear(2 * query_hidden, hidden)
        self.graph = WordConditionedGraph(hidden, passes=passes)
        self.joint = nn.Linear(2 * hidden, hidden)
        self.register_buffer("shares", torch.tensor(windows(), dtype=torch.float64), persistent=False)

    def forward(self, batch: Batch) -> LoganPrediction:
        """The relevance of each frame, and its average over each window."""
        steps = torch.relu(self.video_encoder(batch.features))
        steps = steps + sinusoids(*steps.shape[1:], device=steps.device).to(steps.dtype)
        frames = steps.index_select(0, batch.video)
        words = self.of_words(self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts))
        relevance = self.relevance(frames, words, batch.step_mask, batch.word_mask)
        counts = batch.step_counts.to(relevance.device)
        inside = interval_means((_FOCUS * relevance).exp()[..., None], counts, self.shares).squeeze(2)
        return LoganPrediction.of(
            batch,
            share=self.shares,
            score=at_least_single(inside).log(),  # the average's 6-fold, which a sigmoid tells apart better
            relevance=relevance,
            frames=at_least_single(frames),
            words=at_least_single(words),
            word_counts=batch.word_counts,
        )

    def relevance(
        self,
        frames: Float[Tensor, "B N H"],
        words: Float[Tensor, "B L H"],
        step_mask: Bool[Tensor, "B N"],
        word_mask: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B N"]:
        """Cosine of each frame with the words that it attends to; what follows the last step means nothing."""
        cosines = at_least_single(F.normalize(frames, dim=2) @ F.normalize(words, dim=2).transpose(1, 2))
        to_words = masked_softmax(_SHARPNESS * cosines, word_mask[:, None], dim=2).to(words.dtype)
        to_frames = masked_softmax(_SHARPNESS * cosines, step_mask[..., None], dim=1).to(frames.dtype)
        attended = to_words @ words
        told = self.graph(frames, words, to_words, to_frames, step_mask)
        found = self.joint(torch.cat([frames, told], dim=2))
        return F.cosine_similarity(at_least_single(found), at_least_single(attended), dim=2)

    def losses(self, prediction: LoganPrediction, targets: PairTargets) -> Losses:
        """`pairs`: hinges between each true pair and two wrong ones: with another video, and with another sentence."""
        other, size = targets.negatives, len(prediction.score)
        own = torch.arange(size, device=other.device)[:, None].expand_as(other)
        video = torch.stack([other, own], dim=2).flatten()
        sentence = torch.stack([own, other], dim=2).flatten()
        step_mask = valid_mask(targets.step_counts.to(other.device), prediction.steps)
        word_mask = valid_mask(prediction.word_counts.to(other.device), prediction.words.shape[1])
        wrong = self.relevance(
            prediction.frames[video], prediction.words[sentence], step_mask[video], word_mask[sentence]
        )
        ahead = averaged(prediction.relevance, step_mask)[:, None, None]
        hinges = (self.margin - ahead + averaged(wrong, step_mask[video]).view(size, -1, 2)).clamp_min(0.0)
        real = targets.negative_mask[..., None].to(hinges.dtype)
        pairs = (hinges * real).sum() / (2 * real.sum()).clamp_min(1.0)
        return Losses(total=pairs, parts={"pairs": pairs})


class WordConditionedGraph(nn.Module):
    """Words tell frames what they found in the video, then frames tell each other (all readings).

    Each word takes up the frames that attend to it, and each frame the words so changed. In every pass a frame adds a
    layer of its own row and of the message: the sum of all frames by the softmax of their cosines with it.
    """

    def __init__(self, dim: int, *, passes: int) -> None:
        super().__init__()
        self.of_words, self.of_frames = (nn.Linear(2 * dim, dim) for _ in range(2))
        self.passes = nn.ModuleList(nn.Linear(2 * dim, dim) for _ in range(passes))

    def forward(
        self,
        frames: Float[Tensor, "B N H"],
        words: Float[Tensor, "B L H"],
        to_words: Float[Tensor, "B N L"],
        to_frames: Float[Tensor, "B N L"],
        step_mask: Bool[Tensor, "B N"],
    ) -> Float[Tensor, "B N H"]:
        """The frames after the last pass.

        Args:
            to_words: attention of each frame to the words, of sum 1.
            to_frames: attention of each word to the frames, of sum 1 over these.
        """
        told = self.of_words(torch.cat([words, to_frames.transpose(1, 2) @ frames], dim=2))
        x: Tensor = self.of_frames(torch.cat([frames, to_words @ told], dim=2))
        for layer in self.passes:
            unit = F.normalize(x, dim=2)
            weights = masked_softmax(_SHARPNESS * (unit @ unit.transpose(1, 2)), step_mask[:, None], dim=2)
            x = x + layer(torch.cat([x, weights.to(x.dtype) @ x], dim=2))
        return x


def averaged(relevance: Float[Tensor, "B N"], mask: Bool[Tensor, "B N"]) -> Float[Tensor, "B"]:
    """``log(mean(exp(6 r))) / 6`` over the real frames, in which the most relevant ones have most weight.

    >>> pair = torch.tensor([[0.2, 0.8]])
    >>> round(averaged(pair, torch.ones(1, 2) > 0).item(), 4)
    0.689
    """
    total = (_FOCUS * relevance).masked_fill(~mask, -torch.inf).logsumexp(dim=1)
    return (total - mask.sum(dim=1).to(total.dtype).log()) / _FOCUS


def windows() -> list[tuple[float, float]]:
    """Windows as shares of the video, fixed beforehand (reading): of a sixth, a third, a half and two thirds of it.

    They lie at strides of a third of their length, so far as these fit.

    >>> len(windows())
    29
    """
    lengths = [1 / 6, 1 / 3, 1 / 2, 2 / 3]
    return [
        (first * length / 3, first * length / 3 + length)
        for length in lengths
        for first in range(int((1 - length) / (length / 3) + 1e-9) + 1)
    ]
