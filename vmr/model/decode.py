"""From what networks predict to ranked spans.

Shapes: B batch, N steps, K ranked spans.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vmr.data.spans import temporal_iou


@dataclass(frozen=True)
class RankedSpans:
    """The best spans of each query, best first.

    Attributes:
        steps: first and last step; None for spans that are not made of steps.
        span_sec: start and end in seconds.
        score: the larger the better; what it is, the function that ranks says.
        valid_mask: False where a query has fewer than K spans left; such entries mean nothing.
    """

    steps: Int[Tensor, "B K 2"] | None
    span_sec: Float[Tensor, "B K 2"]
    score: Float[Tensor, "B K"]
    valid_mask: Bool[Tensor, "B K"]


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

    Exact: all pairs are looked at. Equal products rank by earlier start, then earlier end. Not in the paper,
    which needs the best pair only: the next ones, for R@5, are chosen by the same product after non-maximum
    suppression. A span runs from the start of its first step to the end of its last; its score is the product.

    Args:
        start_logits: minus infinity at steps that are not there.
        end_logits: likewise.
        start_sec: start of every step in seconds.
        end_sec: end of every step in seconds.
        top: most spans a query, K.
        nms_threshold: spans whose temporal IoU with a better chosen one is larger are left out.
    """
    size = start_logits.shape[1]
    log_start, log_end = start_logits.log_softmax(dim=1), end_logits.log_softmax(dim=1)
    joint = log_start[:, :, None] + log_end[:, None, :]
    later = torch.ones(size, size, dtype=torch.bool, device=joint.device).triu()
    joint = joint.masked_fill(~later, -math.inf)
    spans = torch.stack([start_sec[:, :, None].expand_as(joint), end_sec[:, None, :].expand_as(joint)], dim=-1)
    # A copy for the scores: what was chosen or suppressed becomes minus infinity in the other.
    left = joint.flatten(1).clone()
    flat_spans = spans.flatten(1, 2)
    chosen, scores, valid = [], [], []
    for rank in range(top):
        best, where = left.max(dim=1)
        chosen.append(where)
        scores.append(best)
        valid.append(best > -math.inf)
        if rank + 1 < top:
            winner = flat_spans.gather(1, where[:, None, None].expand(-1, 1, 2))
            left = left.masked_fill(temporal_iou(flat_spans, winner) > nms_threshold, -math.inf)
            left = left.scatter(1, where[:, None], -math.inf)
    where = torch.stack(chosen, dim=1)
    return RankedSpans(
        steps=torch.stack([where // size, where % size], dim=-1),
        span_sec=flat_spans.gather(1, where[..., None].expand(-1, -1, 2)),
        score=torch.stack(scores, dim=1).exp(),
        valid_mask=torch.stack(valid, dim=1),
    )


def single_spans(
    share: Float[Tensor, "B 2"], start_sec: Float[Tensor, "B N"], end_sec: Float[Tensor, "B N"], *, top: int = 1
) -> RankedSpans:
    """Spans that were predicted as two numbers: the only one of each query, with score 1.

    Not in the paper (Mun et al. 2020): shares are cut to [0, 1], and put in order where the end comes first.

    Args:
        share: start and end as shares of the time from the start of the first step to the end of the last.
        start_sec: start of every step in seconds, ascending; 0 after the last.
        end_sec: end of every step in seconds, likewise.
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
