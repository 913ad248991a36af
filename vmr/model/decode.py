"""From what networks predict to ranked spans.

Shapes: B batch, N steps, K ranked spans.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vmr.model.spans import temporal_iou

# So many of the best pairs nearly always hold the five best that do not overlap; looking at overlaps among them takes
# a small part of the time that it takes among all 16,384 pairs of 128 steps.
_CANDIDATES = 1024


@dataclass(frozen=True)
class RankedSpans:
    """The best spans of each query, best first."""

    steps: Int[Tensor, "B K 2"] | None  # first and last step; None for spans that are not made of steps
    span_sec: Float[Tensor, "B K 2"]  # start and end in seconds
    score: Float[Tensor, "B K"]  # the larger the better; what it is, the function that ranks says
    valid_mask: Bool[Tensor, "B K"]  # False where a query has fewer than K spans left; such entries mean nothing


def rank_spans(
    start_logits: Float[Tensor, "B N"],
    end_logits: Float[Tensor, "B N"],
    start_sec: Float[Tensor, "B N"],
    end_sec: Float[Tensor, "B N"],
    *,
    top: int = 1,
    nms_threshold: float = 0.5,
) -> RankedSpans:
    """The pairs start <= end of highest P_start(start) * P_end(end), without near copies of better ones.

    Exact, as if all pairs were looked at. Equal products rank by earlier start, then earlier end. Not in the paper,
    which needs the best pair only: the next ones, for R@5, are chosen by the same product after non-maximum
    suppression. A span runs from the start of its first step to the end of its last; its score is the product.

    Args:
        start_logits: minus infinity at steps that are not there.
        top: most spans a query, K.
        nms_threshold: spans whose temporal IoU with a better chosen one is larger are left out.
    """
    size = start_logits.shape[1]
    log_start, log_end = start_logits.log_softmax(dim=1), end_logits.log_softmax(dim=1)
    joint = log_start[:, :, None] + log_end[:, None, :]
    later = torch.ones(size, size, dtype=torch.bool, device=joint.device).triu()
    scores = joint.masked_fill_(~later, -math.inf).flatten(1)
    spread_out = partial(_spread_out, top=top, nms_threshold=nms_threshold)
    if top == 1 or scores.shape[1] <= _CANDIDATES:
        return spread_out(scores, None, start_sec, end_sec)
    best, pairs = scores.topk(_CANDIDATES, dim=1)
    # By their place first, so that equal scores stay in the order of all pairs.
    pairs, order = pairs.sort(dim=1)
    found = spread_out(best.gather(1, order), pairs, start_sec, end_sec)
    # Another pair may come before, or be equal to, a chosen one that is no better than the worst candidate.
    worst = best[:, -1]
    unsure = (found.score[:, -1] <= worst.exp()) & (worst > -math.inf)
    if unsure.any():
        again = spread_out(scores[unsure], None, start_sec[unsure], end_sec[unsure])
        for name, value in vars(again).items():
            getattr(found, name)[unsure] = value
    return found


def _spread_out(
    scores: Float[Tensor, "B C"],
    pairs: Int[Tensor, "B C"] | None,
    start_sec: Float[Tensor, "B N"],
    end_sec: Float[Tensor, "B N"],
    *,
    top: int,
    nms_threshold: float,
) -> RankedSpans:
    """The best of some pairs, each without those that overlap it too much; of equal ones the first.

    Args:
        scores: logarithms of products, minus infinity for pairs that are none.
        pairs: which they are, as ``first * N + last``; None: all pairs in this order.
    """
    size = start_sec.shape[1]
    if pairs is None:
        pairs = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
    steps = torch.stack([pairs // size, pairs % size], dim=-1)
    spans = torch.stack([start_sec.gather(1, steps[..., 0]), end_sec.gather(1, steps[..., 1])], dim=-1)
    where, score = _best(scores, spans, top=top, nms_threshold=nms_threshold)
    return RankedSpans(
        steps=_taken(steps, where), span_sec=_taken(spans, where), score=score.exp(), valid_mask=score > -math.inf
    )


def _best(
    scores: Float[Tensor, "B C"], spans: Float[Tensor, "B C 2"], *, top: int, nms_threshold: float
) -> tuple[Int[Tensor, "B K"], Float[Tensor, "B K"]]:
    """Places and scores of the best spans, without those that overlap a better one too much; first of equals."""
    chosen, values = [], []
    for rank in range(top):
        value, where = scores.max(dim=1)
        chosen.append(where)
        values.append(value)
        if rank + 1 < top:
            winner = spans.gather(1, where[:, None, None].expand(-1, 1, 2))
            scores = scores.masked_fill(temporal_iou(spans, winner) > nms_threshold, -math.inf)
            scores = scores.scatter(1, where[:, None], -math.inf)
    return torch.stack(chosen, dim=1), torch.stack(values, dim=1)


def _taken(pairs: Tensor, where: Int[Tensor, "B K"]) -> Tensor:
    return pairs.gather(1, where[..., None].expand(-1, -1, 2))


def rank_proposals(
    share: Float[Tensor, "B M 2"],
    score: Float[Tensor, "B M"],
    valid_mask: Bool[Tensor, "B M"],
    step_counts: Int[Tensor, "B"],
    start_sec: Float[Tensor, "B N"],
    end_sec: Float[Tensor, "B N"],
    *,
    top: int = 1,
    nms_threshold: float = 0.5,
) -> RankedSpans:
    """The proposals of highest score, without near copies of better ones.

    Equal scores rank by earlier start, then earlier end. Shares are cut to [0, 1]; empty spans are dropped. A share
    is a place among the steps, so that steps of different lengths stretch it. Where nothing is left, the whole video
    is the answer, with score 0.

    Args:
        score: any numbers; minus infinity counts as absent.
    """
    spans = seconds_of(share, step_counts, start_sec, end_sec)
    end = end_sec.gather(1, (step_counts - 1)[:, None])
    scores = score.to(start_sec.dtype).masked_fill(~valid_mask | (spans[..., 1] <= spans[..., 0]), -math.inf)
    nothing = (scores == -math.inf).all(dim=1, keepdim=True)
    whole = torch.cat([start_sec[:, :1], end], dim=1)[:, None]
    scores = torch.cat([scores, torch.where(nothing, 0.0, -math.inf)], dim=1)
    spans = torch.cat([spans, whole], dim=1)
    for boundary in (1, 0):  # by start, and of equal starts by end
        order = spans[..., boundary].argsort(dim=1, stable=True)
        spans, scores = _taken(spans, order), scores.gather(1, order)
    where, best = _best(scores, spans, top=top, nms_threshold=nms_threshold)
    return RankedSpans(steps=None, span_sec=_taken(spans, where), score=best, valid_mask=best != -math.inf)


def seconds_of(
    share: Float[Tensor, "B M 2"],
    step_counts: Int[Tensor, "B"],
    start_sec: Float[Tensor, "B N"],
    end_sec: Float[Tensor, "B N"],
) -> Float[Tensor, "B M 2"]:
    """Shares of the steps as seconds; they are cut to [0, 1] first."""
    last = (step_counts - 1)[:, None]
    place = share.to(start_sec.dtype).clamp(0.0, 1.0).flatten(1) * step_counts[:, None]
    step = torch.minimum(place.floor().long(), last)
    begin = start_sec.gather(1, step)
    following = torch.where(step < last, start_sec.gather(1, torch.minimum(step + 1, last)), end_sec.gather(1, last))
    return (begin + (place - step) * (following - begin)).view(share.shape)


def single_spans(
    share: Float[Tensor, "B 2"], start_sec: Float[Tensor, "B N"], end_sec: Float[Tensor, "B N"], *, top: int = 1
) -> RankedSpans:
    """Spans that were predicted as two numbers: the only one of each query, with score 1.

    Not in the paper (Mun et al. 2020): shares are cut to [0, 1], and put in order where the end comes first.

    Args:
        share: start and end as shares of the time from the start of the first step to the end of the last.
        top: K of the result; all but the first entry are not valid.
    """
    begin, end = start_sec[:, :1], end_sec.amax(dim=1, keepdim=True)
    ordered = share.to(start_sec.dtype).clamp(0.0, 1.0).sort(dim=1).values
    seconds = begin + ordered * (end - begin)
    first = torch.arange(top, device=share.device) == 0
    return RankedSpans(
        steps=None,
        span_sec=seconds[:, None].expand(-1, top, -1),
        score=first.to(seconds.dtype).expand(len(share), -1),
        valid_mask=first.expand(len(share), -1),
    )
