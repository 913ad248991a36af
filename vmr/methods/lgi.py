"""LGI (Mun et al., CVPR 2020): semantic phrases of the query, met with the video locally, then globally.

Shapes: B queries of a batch, U different videos of them, N steps, L words, P phrases, D features, E word vector,
H width, Q sentence.
"""

import math

import torch
from torch import nn

from vmr.methods.lgi_layers import LocalContext, PhraseAttention, PhraseFusion
from vmr.model.batch import Batch, Targets
from vmr.model.encoders import PositionalEncoding, QueryEncoder, SelfInteraction, VideoEncoder, last_states
from vmr.model.heads import Mlp
from vmr.model.losses import Losses, attention_guidance_loss, distinct_phrases_loss, regression_loss
from vmr.model.masks import at_least_single
from vmr.model.network import MomentNetwork
from vmr.model.prediction import SpanPrediction


class Lgi(MomentNetwork[SpanPrediction]):
    """LGI: one span a query, regressed from the attended video.

    Not in the paper: features are standardised (as for every method here), word vectors are frozen, with one
    trained vector for unknown words; shorter videos are not stretched to `max_steps`; the residual block
    normalises the numbers of each step, not batches; a non-local block ends in a linear layer.

    The authors' code further has dropout of 0.5 after the embeddings of segments and of positions; ReLUs on the
    positions, in the fusion of phrases and steps, and after the regression (a sigmoid for ActivityNet Captions); and a
    residual block a phrase, see `LocalContext`.

    Args:
        hidden: width of steps and phrases (the paper: 512); even.
        query_hidden: length of the states of each direction of the sentence's LSTM (the authors: 256).
        heads: heads of the non-local blocks (the authors: 4 on Charades-STA, 1 on ActivityNet Captions).
        dropout: of the standardised features, and nowhere else.
        lstm_dropout: between the sentence's LSTMs (the authors: 0.5); none after them, as the authors.
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
        phrases: int,
        kernel: int,
        global_blocks: int,
        phrase_overlap: float,
    ) -> None:
        super().__init__()
        self.phrase_overlap = phrase_overlap
        query_dim = 2 * query_hidden
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, layers=2, between=lstm_dropout)
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.positions = PositionalEncoding(max_steps, hidden)
        self.phrases = PhraseAttention(query_dim, phrases=phrases)
        self.fusion = PhraseFusion(hidden, query_dim, phrases=phrases)
        self.local_context = LocalContext(hidden, kernel=kernel)
        self.phrase_weight = Mlp(query_dim, hidden=max(query_dim // 2, 1), dropout=0.0)
        self.global_context = nn.ModuleList(
            SelfInteraction(hidden, heads=heads, dropout=0.0) for _ in range(global_blocks)
        )
        self.step_weight = Mlp(hidden, hidden=max(hidden // 2, 1), dropout=0.0)
        self.regression = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, batch: Batch) -> SpanPrediction:
        """Start and end of each query's moment."""
        step_mask, word_mask = batch.step_mask, batch.word_mask
        encoded = self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts)
        phrases, weights = self.phrases(encoded, last_states(encoded, batch.word_counts), word_mask)
        steps = self.positions(torch.relu(self.video_encoder(batch.features)))
        local = self.local_context(self.fusion(steps, phrases, batch.video), step_mask)
        share = at_least_single(self.phrase_weight(phrases).squeeze(-1)).softmax(dim=1).to(local.dtype)
        context = torch.einsum("bp,bpnh->bnh", share, local)
        for block in self.global_context:
            context = block(context, step_mask)
        attention = at_least_single(self.step_weight(context).squeeze(-1)).masked_fill(~step_mask, -math.inf)
        summary = (attention.softmax(dim=1).to(context.dtype)[:, None] @ context).squeeze(1)
        return SpanPrediction(
            span=at_least_single(self.regression(summary)), attention=attention, phrases=at_least_single(weights)
        )

    def losses(self, prediction: SpanPrediction, targets: Targets) -> Losses:
        """`regression`, `attention` (temporal attention guidance) and `phrases` (distinct query attention): their sum.

        In the papers' names: L_reg + L_tag + L_dqa, each with weight 1.
        """
        regression = regression_loss(prediction.span, targets.share)
        attention = attention_guidance_loss(prediction.attention, targets.labels)
        phrases = distinct_phrases_loss(prediction.phrases, overlap=self.phrase_overlap)
        return Losses(
            total=regression + attention + phrases,
            parts={"regression": regression, "attention": attention, "phrases": phrases},
        )
