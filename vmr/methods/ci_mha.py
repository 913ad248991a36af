"""CI-MHA (Yu et al., SIGIR 2021), and the two methods that the paper compares it with.

Shapes: B queries of a batch, U different videos of them, N steps, L words, D features, E word vector.
"""

from vmr.model.batch import Batch, Targets
from vmr.model.encoders import FeedForward, PositionalEncoding, QueryEncoder, SelfInteraction, VideoEncoder
from vmr.model.fusion import CrossInteraction
from vmr.model.heads import BoundaryHead, SegmentationHead
from vmr.model.losses import Losses, moment_loss
from vmr.model.network import MomentNetwork
from vmr.model.prediction import BoundaryPrediction
from vmr.names import Alignment


class CiMha(MomentNetwork[BoundaryPrediction]):
    """Cross-interaction multi-head attention (the whole of Sec. 2, after the frozen encoders).

    Args:
        hidden: width D of the fused modalities; even.
        dropout: after attentions, in feed-forward layers and perceptrons.
        both_ways: False for MHA, which uses only v^q; the paper names no other difference.
        segments: False for CI-MHA w/o MS, which has no segmentation task.

    Raises:
        ValueError: an unknown alignment, or impossible sizes.
    """

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        max_steps: int,
        hidden: int,
        query_hidden: int,
        heads: int,
        dropout: float,
        lstm_dropout: float,
        alignment: Alignment,
        segmentation_weight: float,
        both_ways: bool = True,
        segments: bool = True,
    ) -> None:
        super().__init__()
        self.segmentation_weight = segmentation_weight
        query_dim = 2 * query_hidden
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout)
        self.query_interaction = SelfInteraction(query_dim, heads=heads, dropout=dropout)
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.video_interaction = SelfInteraction(hidden, heads=heads, dropout=dropout)
        self.query_projection = FeedForward(query_dim, hidden=hidden, dropout=dropout)
        self.video_projection = FeedForward(hidden, hidden=hidden, dropout=dropout)
        self.positions = PositionalEncoding(max_steps, hidden)
        self.fusion = CrossInteraction(hidden, heads=heads, dropout=dropout, alignment=alignment, both_ways=both_ways)
        self.boundaries = BoundaryHead(self.fusion.out_dim, hidden=hidden, dropout=dropout, lstm_dropout=lstm_dropout)
        self.segmentation = SegmentationHead(self.fusion.out_dim, hidden=hidden, dropout=dropout) if segments else None

    def forward(self, batch: Batch) -> BoundaryPrediction:
        """Logits of start, end and segmentation for every step."""
        step_mask, word_mask = batch.step_mask, batch.word_mask

        q_0 = self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts)  # Eq. 2
        q = self.query_interaction(q_0, word_mask)  # Eq. 3
        v_0 = self.video_encoder(batch.features)  # Eq. 1
        v = self.video_interaction(v_0, batch.video_mask)  # Eq. 4
        v_hat = self.positions(self.video_projection(v))  # Eq. 5
        q_hat = self.query_projection(q)  # Eq. 6
        fused = self.fusion(
            q_hat, v_hat, word_mask=word_mask, step_mask=step_mask, word_counts=batch.word_counts, video=batch.video
        )  # Eqs. 7 to 9
        start, end = self.boundaries(fused, batch.step_counts)  # Eqs. 10 to 13
        inside = self.segmentation(fused) if self.segmentation and not batch.spans_only else None  # Eq. 15
        return BoundaryPrediction.of(start, end, step_mask, inside=inside)

    def losses(self, prediction: BoundaryPrediction, targets: Targets) -> Losses:
        """`boundary` and `segmentation`, see `vmr.model.losses.moment_loss`."""
        return moment_loss(
            prediction, targets.labels, targets.step_counts, segmentation_weight=self.segmentation_weight
        )
