"""The network: CI-MHA and the two methods that the paper compares it with.

Shapes: B queries of a batch, U different videos of them, N steps, L words, D features, E word vector.
"""

import math

from jaxtyping import Bool, Float, Int
from torch import Tensor

from vmr.model.encoders import FeedForward, PositionalEncoding, QueryEncoder, SelfInteraction, VideoEncoder
from vmr.model.fusion import CrossInteraction
from vmr.model.heads import BoundaryHead, SegmentationHead
from vmr.model.losses import Losses, Targets, moment_loss
from vmr.model.masks import at_least_single, check_counts, mask_of_videos, valid_mask
from vmr.model.network import MomentNetwork
from vmr.model.prediction import BoundaryPrediction
from vmr.names import Alignment, MethodName

METHODS: tuple[MethodName, ...] = ("mha", "ci_mha_wo_ms", "ci_mha")


class CiMha(MomentNetwork[BoundaryPrediction]):
    """Cross-interaction multi-head attention (the whole of Sec. 2, after the frozen encoders).

    Args:
        method: ``ci_mha`` (both ways of attention, both tasks), ``ci_mha_wo_ms`` (without the segmentation
            task) or ``mha`` (only v^q of Eq. 7 is used; both tasks, since the paper names no other difference).
        video_dim: length of the features of a step.
        word_dim: length of the word vectors.
        max_steps: most steps of a video.
        hidden: width D of the fused modalities; even.
        query_hidden: length of the states of each direction of the query's LSTM.
        heads: heads of every attention.
        dropout: after attentions, in feed-forward layers and perceptrons.
        lstm_dropout: after LSTMs.
        alignment: reading of Eqs. 7 to 9, see `vmr.model.fusion`.
        segmentation_weight: weight of the segmentation task in the objective.

    Raises:
        ValueError: an unknown method or alignment, or sizes that cannot be.
    """

    def __init__(
        self,
        *,
        method: MethodName,
        video_dim: int,
        word_dim: int,
        max_steps: int = 128,
        hidden: int = 512,
        query_hidden: int = 256,
        heads: int = 8,
        dropout: float = 0.2,
        lstm_dropout: float = 0.5,
        alignment: Alignment = "attention",
        segmentation_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
        self.segmentation_weight = segmentation_weight
        query_dim = 2 * query_hidden
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout)
        self.query_interaction = SelfInteraction(query_dim, heads=heads, dropout=dropout)
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.video_interaction = SelfInteraction(hidden, heads=heads, dropout=dropout)
        self.query_projection = FeedForward(query_dim, hidden=hidden, dropout=dropout)
        self.video_projection = FeedForward(hidden, hidden=hidden, dropout=dropout)
        self.positions = PositionalEncoding(max_steps, hidden)
        self.fusion = CrossInteraction(
            hidden, heads=heads, dropout=dropout, alignment=alignment, both_ways=method != "mha"
        )
        self.boundaries = BoundaryHead(self.fusion.out_dim, hidden=hidden, dropout=dropout, lstm_dropout=lstm_dropout)
        self.segmentation = (
            None if method == "ci_mha_wo_ms" else SegmentationHead(self.fusion.out_dim, hidden=hidden, dropout=dropout)
        )

    def forward(
        self,
        features: Float[Tensor, "U N D"],
        step_counts: Int[Tensor, "B"],
        words: Float[Tensor, "B L E"],
        unknown_mask: Bool[Tensor, "B L"],
        word_counts: Int[Tensor, "B"],
        video: Int[Tensor, "B"] | None = None,
        *,
        spans_only: bool = False,
    ) -> BoundaryPrediction:
        """Logits of start, end and segmentation for every step, see `MomentNetwork.forward`."""
        check_counts(step_counts, word_counts)
        step_mask = valid_mask(step_counts, features.shape[1]).to(features.device)
        word_mask = valid_mask(word_counts, words.shape[1]).to(words.device)

        q_0 = self.query_encoder(words, unknown_mask, word_counts)  # Eq. 2
        q = self.query_interaction(q_0, word_mask)  # Eq. 3
        v_0 = self.video_encoder(features)  # Eq. 1
        v = self.video_interaction(v_0, mask_of_videos(step_mask, video, len(features)))  # Eq. 4
        v_hat = self.video_projection(v) + self.positions(features.shape[1])  # Eq. 5
        q_hat = self.query_projection(q)  # Eq. 6
        fused = self.fusion(
            q_hat, v_hat, word_mask=word_mask, step_mask=step_mask, word_counts=word_counts, video=video
        )  # Eqs. 7 to 9
        start, end = self.boundaries(fused, step_counts)  # Eqs. 10 to 13
        inside = None
        if self.segmentation is not None and not spans_only:
            inside = at_least_single(self.segmentation(fused)).masked_fill(~step_mask, 0.0)  # Eq. 15
        return BoundaryPrediction(
            start=at_least_single(start).masked_fill(~step_mask, -math.inf),
            end=at_least_single(end).masked_fill(~step_mask, -math.inf),
            inside=inside,
        )

    def losses(self, prediction: BoundaryPrediction, targets: Targets) -> Losses:
        """`boundary` and `segmentation`, see `vmr.model.losses.moment_loss`."""
        return moment_loss(
            prediction, targets.labels, targets.step_counts, segmentation_weight=self.segmentation_weight
        )
