"""VSLNet (Zhang et al., ACL 2020): a question answering network that reads the video as its text.

Shapes: B queries of a batch, U different videos of them, N steps, L words, T items of either, D features, E word
vector, H width.
"""

import torch
from torch import nn

from vmr.machine.precision import lstm_precision
from vmr.methods.vslnet_layers import ContextQueryAttention, FeatureEncoder, WeightedPooling
from vmr.model.batch import Batch, Targets
from vmr.model.dropout import Dropout
from vmr.model.encoders import VideoEncoder, WordVectors
from vmr.model.heads import Mlp
from vmr.model.losses import Losses, boundaries_loss, extended_labels, segmentation_loss
from vmr.model.masks import at_least_single
from vmr.model.network import MomentNetwork
from vmr.model.prediction import BoundaryPrediction


class VslNet(MomentNetwork[BoundaryPrediction]):
    """VSLNet with the recurrent span predictor.

    Not in the paper: features are standardised (as for every method here), unknown words share a trained vector,
    and there are no embeddings of characters. In the authors' code the highlighting loss counts steps of the
    foreground twice; here it is the paper's plain cross entropy.

    Args:
        hidden: width of all layers (the paper: 128).
        heads: heads of the encoder's attention (the paper: 8).
        dropout: of the inputs, in the encoder, after the context-query attention and in perceptrons.
    """

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        hidden: int,
        heads: int,
        dropout: float,
        kernel: int,
        layers: int,
        highlight_weight: float,
        extension: float,
    ) -> None:
        super().__init__()
        self.highlight_weight = highlight_weight
        self.extension = extension
        self.words = WordVectors(word_dim)
        self.word_projection = nn.Sequential(Dropout(dropout), nn.Linear(word_dim, hidden))
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.encoder = FeatureEncoder(hidden, heads=heads, kernel=kernel, layers=layers, dropout=dropout)
        self.attention = ContextQueryAttention(hidden, dropout=dropout)
        self.pooling = WeightedPooling(hidden)
        self.highlight = nn.Linear(2 * hidden, 1)
        self.start_lstm = nn.LSTM(2 * hidden, hidden, batch_first=True)
        self.end_lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.start_mlp = Mlp(3 * hidden, hidden=hidden, dropout=dropout)
        self.end_mlp = Mlp(3 * hidden, hidden=hidden, dropout=dropout)

    def forward(self, batch: Batch) -> BoundaryPrediction:
        """Logits of start, end and highlighting for every step."""
        step_mask, word_mask = batch.step_mask, batch.word_mask
        steps = self.encoder(self.video_encoder(batch.features), batch.video_mask)
        steps = steps.index_select(0, batch.video)
        query = self.encoder(self.word_projection(self.words.embed(batch.words, batch.unknown_mask)), word_mask)
        fused = self.attention(steps, query, step_mask, word_mask)
        sentence = self.pooling(query, word_mask)
        fused = torch.cat([fused, sentence[:, None].expand(-1, fused.shape[1], -1)], dim=-1)
        inside = at_least_single(self.highlight(fused).squeeze(-1))
        highlighted = inside.sigmoid().to(fused.dtype)[..., None] * fused
        # One direction only: padding comes after the steps that it could change.
        highlighted, precision = lstm_precision(highlighted)
        with precision:
            start_states, _ = self.start_lstm(highlighted)
            end_states, _ = self.end_lstm(start_states)
        start = self.start_mlp(torch.cat([start_states, highlighted], dim=-1)).squeeze(-1)
        end = self.end_mlp(torch.cat([end_states, highlighted], dim=-1)).squeeze(-1)
        return BoundaryPrediction.of(start, end, step_mask, inside=inside)

    def losses(self, prediction: BoundaryPrediction, targets: Targets) -> Losses:
        """`boundary` (start and end added, as the authors do) and `highlight` by `highlight_weight`."""
        assert prediction.inside is not None
        boundary = boundaries_loss(prediction, targets.labels)
        foreground = extended_labels(targets.labels, targets.step_counts, ratio=self.extension)
        highlight = segmentation_loss(prediction.inside, foreground, targets.step_counts)
        return Losses(
            total=boundary + self.highlight_weight * highlight,
            parts={"boundary": boundary, "highlight": highlight},
        )
