"""TGA (Mithun et al., CVPR 2019): windows attended to by the sentence, learnt from pairs of video and sentence.

Shapes: B queries of a batch, M windows, L words, H width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.batch import Batch, PairTargets
from vmr.model.dropout import Dropout
from vmr.model.encoders import VideoEncoder, WordVectors
from vmr.model.grid import equal_parts, pooled
from vmr.model.losses import Losses, ranking_loss
from vmr.model.masks import at_least_single
from vmr.model.network import GridNetwork
from vmr.model.prediction import ProposalPrediction


@dataclass(frozen=True)
class TgaPrediction(ProposalPrediction):
    """Windows by the attention that the sentence pays them."""

    # cosine of each sentence with each video, that is summed by its own sentence's attention
    pairs: Float[Tensor, "B _"]


class Tga(GridNetwork[TgaPrediction]):
    """TGA, text-guided attention: no span is seen in training.

    Not in the paper: features are standardised and word vectors frozen; windows are shares of the video (the authors:
    128 and 256 frames), fixed beforehand; the first layer on windows is trained, which in the authors' code has no
    gradient, so that what localises stays random there. A sentence meets other videos as their own sentences summed
    them, as in that code.

    Args:
        hidden: width of the space that sentences and videos share, and of the GRU (the authors: 1024).
        lstm_dropout: of the sentence (reading).
        coarse: windows of the longer kind; there are twice as many of the shorter (reading: 3, so thirds and sixths).
    """

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        hidden: int,
        dropout: float,
        lstm_dropout: float,
        coarse: int,
        margin: float,
    ) -> None:
        super().__init__()
        self.margin, self.kinds = margin, (2 * coarse, coarse)
        self.sentence_encoder = SentenceEncoder(word_dim, hidden=hidden, dropout=lstm_dropout)
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.joint = nn.Linear(hidden, hidden)
        self.register_buffer("shares", equal_parts(self.kinds), persistent=False)

    def forward(self, batch: Batch) -> TgaPrediction:
        """The windows of each query's video, and how well each sentence goes with each video."""
        counts = batch.video_step_counts
        means = torch.cat([pooled(batch.features, counts, kind, "mean") for kind in self.kinds], dim=1)
        windows = self.video_encoder(means).index_select(0, batch.video)
        sentence = F.normalize(
            at_least_single(self.sentence_encoder(batch.words, batch.unknown_mask, batch.word_counts)), dim=1
        )
        score = (at_least_single(windows) * sentence[:, None]).sum(dim=2)
        summed = torch.einsum("bm,bmh->bh", score.softmax(dim=1).to(windows.dtype), windows)
        video = F.normalize(at_least_single(self.joint(summed)), dim=1)
        return TgaPrediction.of(batch, share=self.shares, score=score, pairs=sentence @ video.t())

    def losses(self, prediction: TgaPrediction, targets: PairTargets) -> Losses:
        """`pairs`: the hinge between true pairs and wrong ones of the batch, see `ranking_loss`."""
        pairs = ranking_loss(prediction.pairs, targets.same_video, margin=self.margin)
        return Losses(total=pairs, parts={"pairs": pairs})


class SentenceEncoder(WordVectors):
    """A sentence as the last state of a GRU over its word vectors."""

    def __init__(self, word_dim: int, *, hidden: int, dropout: float) -> None:
        super().__init__(word_dim)
        self.gru = nn.GRU(word_dim, hidden, batch_first=True)
        self.dropout = Dropout(dropout)

    def forward(
        self, words: Float[Tensor, "B L E"], unknown_mask: Tensor, counts: Int[Tensor, "B"]
    ) -> Float[Tensor, "B H"]:
        """The state after the last word."""
        states, _ = self.gru(self.embed(words, unknown_mask))
        row = torch.arange(len(states), device=states.device)
        result: Tensor = self.dropout(states[row, counts.to(states.device) - 1])
        return result
