"""What networks say about a batch, and how that becomes ranked spans.

Shapes: B queries of a batch, N steps, L words, P phrases.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vmr.model.decode import RankedSpans, rank_spans, single_spans


class Prediction(ABC):
    """What a network says about a batch."""

    @abstractmethod
    def ranked(
        self,
        start_sec: Float[Tensor, "B N"],
        end_sec: Float[Tensor, "B N"],
        *,
        top: int = 1,
        nms_threshold: float = 0.5,
    ) -> RankedSpans:
        """The best spans of each query, best first.

        Args:
            start_sec: start of every step in seconds, 0 after the last.
            end_sec: end of every step in seconds, 0 after the last.
            top: most spans a query.
            nms_threshold: spans whose temporal IoU with a better one is larger are left out.
        """


@dataclass(frozen=True)
class BoundaryPrediction(Prediction):
    """Distributions of the start and of the end over the steps.

    Attributes:
        start: logits of the start, minus infinity after the last step: P_start is their softmax.
        end: logits of the end, likewise.
        inside: logits of lying inside the moment, 0 after the last step; None without such a task.
    """

    start: Float[Tensor, "B N"]
    end: Float[Tensor, "B N"]
    inside: Float[Tensor, "B N"] | None

    def ranked(
        self,
        start_sec: Float[Tensor, "B N"],
        end_sec: Float[Tensor, "B N"],
        *,
        top: int = 1,
        nms_threshold: float = 0.5,
    ) -> RankedSpans:
        """The pairs of steps of highest probability, see `vmr.model.decode.rank_spans`."""
        return rank_spans(self.start, self.end, start_sec, end_sec, top=top, nms_threshold=nms_threshold)


@dataclass(frozen=True)
class SpanPrediction(Prediction):
    """One span a query, as numbers instead of distributions (LGI).

    Attributes:
        span: start and end as shares of the time from the video's first step to its last; may lie outside of
            [0, 1] and be in the wrong order.
        attention: logits of the attention over the steps, minus infinity after the last.
        phrases: weights of the words in each semantic phrase, 0 after the last word.
    """

    span: Float[Tensor, "B 2"]
    attention: Float[Tensor, "B N"]
    phrases: Float[Tensor, "B P L"]

    def ranked(
        self,
        start_sec: Float[Tensor, "B N"],
        end_sec: Float[Tensor, "B N"],
        *,
        top: int = 1,
        nms_threshold: float = 0.5,
    ) -> RankedSpans:
        """The one span of each query, see `vmr.model.decode.single_spans`; R@5 is then R@1."""
        return single_spans(self.span, start_sec, end_sec, top=top)
