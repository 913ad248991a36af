"""The network: CI-MHA and the two methods that the paper compares it with.

Shapes: B queries of a batch, U different videos of them, N steps, L words, D features, E word vector.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vmr.model.encoders import FeedForward, PositionalEncoding, QueryEncoder, SelfInteraction, VideoEncoder
from vmr.model.fusion import CrossInteraction
from vmr.model.heads import BoundaryHead, SegmentationHead
from vmr.names import Alignment, MethodName

METHODS: tuple[MethodName, ...] = ("mha", "ci_mha_wo_ms", "ci_mha")


@dataclass(frozen=True)
class Prediction:
    """What the network says about a batch.

    Attributes:
        start: logits of the start, minus infinity after the last step: P_start is their softmax (Eq. 14).
        end: logits of the end, likewise.
        inside: logits of lying inside the moment, 0 after the last step; None without the segmentation task.
    """

    start: Float[Tensor, "B N"]
    end: Float[Tensor, "B N"]
    inside: Float[Tensor, "B N"] | None


class CiMha(nn.Module):
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
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
        self.method = method
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
    ) -> Prediction:
        """Logits of start, end and segmentation for every step.

        Args:
            features: of the steps of each video; what they hold after the last does not matter.
            step_counts: steps of the video of each query, on the CPU.
            words: word vectors; zeros after the last word.
            unknown_mask: True at unknown words.
            word_counts: words of each query, on the CPU.
            video: which of the videos each query is about; by default one of each.

        Raises:
            ValueError: a video without steps, a query without words, or a video longer than `max_steps`.
        """
        if int(step_counts.min()) < 1 or int(word_counts.min()) < 1:
            raise ValueError("every video needs at least one step and every query at least one word")
        step_mask = valid_mask(step_counts, features.shape[1]).to(features.device)
        word_mask = valid_mask(word_counts, words.shape[1]).to(words.device)

        q_0 = self.query_encoder(words, unknown_mask, word_counts)  # Eq. 2
        q = self.query_interaction(q_0, word_mask)  # Eq. 3
        v_0 = self.video_encoder(features)  # Eq. 1
        v = self.video_interaction(v_0, self._video_mask(step_mask, video, len(features)), video)  # Eq. 4
        v_hat = self.video_projection(v) + self.positions(features.shape[1])  # Eq. 5
        q_hat = self.query_projection(q)  # Eq. 6
        fused = self.fusion(
            q_hat, v_hat, word_mask=word_mask, step_mask=step_mask, word_counts=word_counts
        )  # Eqs. 7 to 9
        start, end = self.boundaries(fused, step_counts)  # Eqs. 10 to 13
        inside = None
        if self.segmentation is not None:
            inside = _single(self.segmentation(fused)).masked_fill(~step_mask, 0.0)  # Eq. 15
        return Prediction(
            start=_single(start).masked_fill(~step_mask, -math.inf),
            end=_single(end).masked_fill(~step_mask, -math.inf),
            inside=inside,
        )

    @staticmethod
    def _video_mask(step_mask: Bool[Tensor, "B N"], video: Int[Tensor, "B"] | None, videos: int) -> Bool[Tensor, "U N"]:
        """The mask of each video, from those of the queries."""
        if video is None:
            return step_mask
        mask = step_mask.new_zeros(videos, step_mask.shape[1])
        mask[video] = step_mask
        return mask


def valid_mask(counts: Int[Tensor, "B"], length: int) -> Bool[Tensor, "B T"]:
    """True at the first `counts` of `length` items.

    >>> valid_mask(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(length, device=counts.device) < counts[:, None]


def _single(x: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """At least single precision: softmax and losses are not for bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
