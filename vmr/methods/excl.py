"""ExCL (Ghosh et al., NAACL 2019): bi-LSTMs over the video and over the sentence, and one over both for the span.

The variant with a recurrent video encoder and the tied LSTM: start and end share the states of one LSTM and have a
perceptron each. Its conditioned variant is what CI-MHA's boundary head does.

Shapes: B queries of a batch, U different videos of them, N steps, L words, D features, E word vector.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vmr.model.dropout import Dropout
from vmr.model.encoders import BiLSTM, FeatureScale, QueryEncoder, last_states
from vmr.model.heads import Mlp
from vmr.model.losses import Losses, Targets, moment_loss
from vmr.model.masks import at_least_single, check_counts, valid_mask
from vmr.model.network import MomentNetwork
from vmr.model.prediction import BoundaryPrediction


class Excl(MomentNetwork[BoundaryPrediction]):
    """ExCL with classified boundaries.

    Not in the paper: features are standardised (as for every method here), unknown words share a trained vector,
    and the perceptrons have rectifiers and the hidden width of the network.

    Args:
        video_dim: length of the features of a step.
        word_dim: length of the word vectors.
        hidden: length of the states of both directions together, of the video's and of the span's LSTM; even.
        query_hidden: length of the states of each direction of the sentence's LSTM.
        dropout: of the standardised features and in the perceptrons.
        lstm_dropout: after LSTMs (the paper: 0.5).

    Raises:
        ValueError: `hidden` is odd.
    """

    video_encoder: FeatureScale

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        hidden: int = 512,
        query_hidden: int = 256,
        dropout: float = 0.2,
        lstm_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if hidden % 2:
            raise ValueError(f"hidden is {hidden}; expected an even number, since LSTMs have two directions")
        fused_dim = hidden + 2 * query_hidden
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout)
        self.video_encoder = FeatureScale(video_dim)
        self.feature_dropout = Dropout(dropout)
        self.video_lstm = BiLSTM(video_dim, hidden // 2)
        self.span_lstm = BiLSTM(fused_dim, hidden // 2)
        self.dropout = Dropout(lstm_dropout)
        self.start_mlp = Mlp(hidden + fused_dim, hidden=hidden, dropout=dropout)
        self.end_mlp = Mlp(hidden + fused_dim, hidden=hidden, dropout=dropout)

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
        """Logits of start and end for every step, see `MomentNetwork.forward`."""
        check_counts(step_counts, word_counts)
        step_mask = valid_mask(step_counts, features.shape[1]).to(features.device)
        sentence = last_states(self.query_encoder(words, unknown_mask, word_counts), word_counts)
        steps = self.feature_dropout(self.video_encoder.standardised(features))
        states = self._video_states(steps, step_counts, video)
        repeated = sentence.to(states.dtype)[:, None].expand(-1, states.shape[1], -1)
        fused = torch.cat([states, repeated], dim=-1)
        tied = self.dropout(self.span_lstm(fused, step_counts))
        both = torch.cat([tied, fused], dim=-1)
        start, end = (
            at_least_single(mlp(both).squeeze(-1)).masked_fill(~step_mask, -math.inf)
            for mlp in (self.start_mlp, self.end_mlp)
        )
        return BoundaryPrediction(start=start, end=end, inside=None)

    def losses(self, prediction: BoundaryPrediction, targets: Targets) -> Losses:
        """`boundary`: the negative log-likelihood of the start plus that of the end."""
        return moment_loss(prediction, targets.labels, targets.step_counts)

    def _video_states(
        self, steps: Float[Tensor, "U N D"], step_counts: Int[Tensor, "B"], video: Int[Tensor, "B"] | None
    ) -> Float[Tensor, "B N H"]:
        """States of the video's LSTM for every query; queries to one video share them, each with its own dropout."""
        if video is None:
            states: Tensor = self.dropout(self.video_lstm(steps, step_counts))
            return states
        counts = torch.ones(len(steps), dtype=step_counts.dtype, device=step_counts.device)
        counts[video.to(counts.device)] = step_counts
        states = self.dropout(self.video_lstm(steps, counts).index_select(0, video))
        return states
