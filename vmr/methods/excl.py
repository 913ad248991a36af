"""ExCL (Ghosh et al., NAACL 2019): bi-LSTMs over the video and over the sentence, and one over both for the span.

The variant with a recurrent video encoder and the tied LSTM: start and end share the states of one LSTM and have a
perceptron each. Its conditioned variant is what CI-MHA's boundary head does.

Shapes: B queries of a batch, U different videos of them, N steps, L words, D features, E word vector.
"""

import torch

from vmr.model.batch import Batch, Targets
from vmr.model.dropout import Dropout
from vmr.model.encoders import BiLSTM, FeatureScale, QueryEncoder, last_states
from vmr.model.heads import Mlp
from vmr.model.losses import Losses, moment_loss
from vmr.model.network import MomentNetwork
from vmr.model.prediction import BoundaryPrediction


class Excl(MomentNetwork[BoundaryPrediction]):
    """ExCL with classified boundaries.

    Not in the paper: features are standardised (as for every method here), unknown words share a trained vector,
    and the perceptrons have rectifiers and the hidden width of the network.

    Args:
        hidden: length of the states of both directions together, of the video's and of the span's LSTM; even.
        dropout: of the standardised features and in the perceptrons.
        lstm_dropout: after LSTMs (the paper: 0.5).

    Raises:
        ValueError: `hidden` is odd.
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

    def forward(self, batch: Batch) -> BoundaryPrediction:
        """Logits of start and end for every step."""
        sentence = last_states(
            self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts), batch.word_counts
        )
        steps = self.feature_dropout(self.video_encoder.standardised(batch.features))
        # Queries to one video share its states, each with its own dropout.
        counts = batch.step_counts.new_ones(len(steps))
        counts[batch.video.to(counts.device)] = batch.step_counts
        states = self.dropout(self.video_lstm(steps, counts).index_select(0, batch.video))
        repeated = sentence.to(states.dtype)[:, None].expand(-1, states.shape[1], -1)
        fused = torch.cat([states, repeated], dim=-1)
        tied = self.dropout(self.span_lstm(fused, batch.step_counts))
        both = torch.cat([tied, fused], dim=-1)
        start, end = (mlp(both).squeeze(-1) for mlp in (self.start_mlp, self.end_mlp))
        return BoundaryPrediction.of(start, end, batch.step_mask)

    def losses(self, prediction: BoundaryPrediction, targets: Targets) -> Losses:
        """`boundary`: the negative log-likelihood of the start plus that of the end."""
        return moment_loss(prediction, targets.labels, targets.step_counts)
