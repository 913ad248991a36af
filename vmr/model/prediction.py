"""What networks say about a batch: ranked spans, curves over the steps, and what stretches are compared by.

Shapes: B queries of a batch, N steps, L words, P phrases, M proposals.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vmr.model.batch import Batch
from vmr.model.decode import RankedSpans, rank_proposals, rank_spans, single_spans
from vmr.model.masks import at_least_single, valid_mask

Own = TypeVar("Own", bound="ProposalPrediction")


@dataclass(frozen=True)
class Evidence:
    """What of a prediction can be compared with that for another stretch of the same video."""

    # probability of each step to lie inside the moment. The score of a span is multiplied by its mean over the span.
    # None: scores are comparable, or `log_weight` makes them so.
    inside: Float[Tensor, "B N"] | None = None
    log_weight: Float[Tensor, "B"] | None = None  # logarithm of the weight of the whole stretch; None: 0


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
            nms_threshold: spans whose temporal IoU with a better one is larger are left out.
        """

    @abstractmethod
    def curves(self) -> dict[str, Float[Tensor, "B N"]]:
        """Shares of the steps by name, 0 after the last step.

        `inside` is a probability at each step. Every other curve sums to 1 over the steps.
        """

    def evidence(self, own_mask: Bool[Tensor, "B N"]) -> Evidence:
        """What makes scores comparable between stretches; nothing where they are.

        Args:
            own_mask: True at the steps that belong to no other stretch.
        """
        return Evidence()

    def row(self, number: int) -> "Prediction":
        """The prediction for one query, on the CPU."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        rows = {name: own[number : number + 1].cpu() for name, own in values.items() if isinstance(own, Tensor)}
        return replace(self, **rows)  # type: ignore[type-var]


@dataclass(frozen=True)
class BoundaryPrediction(Prediction):
    """Distributions of the start and of the end over the steps."""

    start: Float[Tensor, "B N"]  # logits of the start, minus infinity after the last step: P_start is their softmax
    end: Float[Tensor, "B N"]  # logits of the end, likewise
    # logits of lying inside the moment, 0 after the last step; None without such a task
    inside: Float[Tensor, "B N"] | None

    @classmethod
    def of(cls, start: Tensor, end: Tensor, step_mask: Tensor, *, inside: Tensor | None = None) -> "BoundaryPrediction":
        """The prediction of logits (B N) in any precision, whatever they are after the last step."""
        start, end = (at_least_single(own).masked_fill(~step_mask, -torch.inf) for own in (start, end))
        return cls(start, end, None if inside is None else at_least_single(inside).masked_fill(~step_mask, 0.0))

    def ranked(self, start_sec: Tensor, end_sec: Tensor, *, top: int = 1, nms_threshold: float = 0.5) -> RankedSpans:
        """The pairs of steps of highest probability, see `vmr.model.decode.rank_spans`."""
        return rank_spans(self.start, self.end, start_sec, end_sec, top=top, nms_threshold=nms_threshold)

    def curves(self) -> dict[str, Float[Tensor, "B N"]]:
        """P_start and P_end (Eq. 14), and P_in (Eq. 15) where there is that task."""
        found = {"start": self.start.softmax(dim=1), "end": self.end.softmax(dim=1)}
        real = self.start > -torch.inf
        return found if self.inside is None else found | {"inside": self.inside.sigmoid() * real}

    def evidence(self, own_mask: Bool[Tensor, "B N"]) -> Evidence:
        """P_in, which is trained step by step; without that task the unnormalised logits, a weaker ground."""
        if self.inside is not None:
            return Evidence(inside=self.inside.sigmoid())
        return Evidence(log_weight=self.start.logsumexp(dim=1) + self.end.logsumexp(dim=1))


@dataclass(frozen=True)
class SpanPrediction(Prediction):
    """One span a query, as numbers instead of distributions (LGI)."""

    # start and end as shares of the time from the video's first step to its last; may lie outside of [0, 1] and be in
    # the wrong order
    span: Float[Tensor, "B 2"]
    attention: Float[Tensor, "B N"]  # logits of the attention over the steps, minus infinity after the last
    phrases: Float[Tensor, "B P L"]  # weights of the words in each semantic phrase, 0 after the last word

    def ranked(self, start_sec: Tensor, end_sec: Tensor, *, top: int = 1, nms_threshold: float = 0.5) -> RankedSpans:
        """The one span of each query, see `vmr.model.decode.single_spans`; R@5 is then R@1."""
        return single_spans(self.span, start_sec, end_sec, top=top)

    def curves(self) -> dict[str, Float[Tensor, "B N"]]:
        """The attention over the steps."""
        return {"attention": self.attention.softmax(dim=1)}

    def evidence(self, own_mask: Bool[Tensor, "B N"]) -> Evidence:
        """The unnormalised attention of the stretch's own steps."""
        own = self.attention.masked_fill(~own_mask, -torch.inf)
        return Evidence(log_weight=own.logsumexp(dim=1))


@dataclass(frozen=True)
class ProposalPrediction(Prediction):
    """Spans with scores. Scores are logits by preference; they count as comparable between stretches."""

    # start and end of each proposal as shares of the video's steps; what lies outside of [0, 1] is cut
    share: Float[Tensor, "B M 2"]
    score: Float[Tensor, "B M"]  # the larger the better; minus infinity counts as absent
    valid_mask: Bool[Tensor, "B M"]  # True at proposals that count
    step_counts: Int[Tensor, "B"]  # steps of each video
    steps: int  # N, steps of the longest video of the batch

    @classmethod
    def of(
        cls: type[Own],
        batch: Batch,
        *,
        share: Float[Tensor, "*#B M 2"],
        score: Float[Tensor, "B M"],
        valid_mask: Bool[Tensor, "B M"] | None = None,
        **more: Any,
    ) -> Own:
        """The prediction for a batch: shares may be those of all queries; without a mask all proposals count."""
        return cls(
            share=share.to(score.dtype).expand(*score.shape, 2),
            score=score,
            valid_mask=torch.ones_like(score, dtype=torch.bool) if valid_mask is None else valid_mask,
            step_counts=batch.step_counts,
            steps=batch.features.shape[1],
            **more,
        )

    def ranked(self, start_sec: Tensor, end_sec: Tensor, *, top: int = 1, nms_threshold: float = 0.5) -> RankedSpans:
        """The proposals of highest score, see `vmr.model.decode.rank_proposals`; their scores through a sigmoid.

        So scores lie between 0 and 1, as those of other methods do, and their order stays.
        """
        counts = self.step_counts.to(start_sec.device)
        found = rank_proposals(
            self.share, self.score, self.valid_mask, counts, start_sec, end_sec, top=top, nms_threshold=nms_threshold
        )
        return replace(found, score=found.score.sigmoid())

    def curves(self) -> dict[str, Float[Tensor, "B N"]]:
        """`inside`: sigmoid of the best score among proposals that cover the middle of a step; 0 without any."""
        counts = self.step_counts.to(self.score.device)
        middle = ((torch.arange(self.steps, device=counts.device) + 0.5) / counts[:, None])[:, :, None]
        share = self.share[:, None].clamp(0.0, 1.0)
        covers = (share[..., 0] <= middle) & (middle <= share[..., 1]) & self.valid_mask[:, None]
        best = self.score[:, None].expand_as(covers).masked_fill(~covers, -torch.inf).amax(dim=2)
        return {"inside": best.sigmoid() * valid_mask(counts, self.steps)}
