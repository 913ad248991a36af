"""Videos longer than the network was made for: overlapping stretches, and how their scores become comparable.

Not in the paper, which averages every video to 128 steps; of two hours that would leave steps of a minute.

Shapes: K stretches, S steps of a stretch, N steps of the video.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vmr.locate.answers import Curve, Moment
from vmr.model.prediction import Prediction
from vmr.model.spans import span_to_steps, temporal_iou

# Up to so many times the network's steps a video is averaged, as in training and in the tables.
WHOLE_FACTOR = 2
# Spans of a stretch that are compared with those of the others.
_CANDIDATES = 10


@dataclass(frozen=True)
class Stretch:
    """Steps that are looked at together."""

    begin: int
    end: int
    own_begin: int  # first of the steps that belong to this stretch alone: those nearer to its middle than to another's
    own_end: int  # the step after the last of them


def plan_stretches(steps: int, *, max_steps: int) -> list[Stretch]:
    """Overlap by at least half, at equal distances, so that a moment of up to half a stretch lies inside of one.

    >>> [(each.begin, each.end, each.own_begin, each.own_end) for each in plan_stretches(8, max_steps=4)]
    [(0, 4, 0, 3), (2, 6, 3, 5), (4, 8, 5, 8)]
    """
    if steps <= max_steps:
        return [Stretch(0, steps, 0, steps)]
    count = -(-(steps - max_steps) // max(max_steps // 2, 1)) + 1
    begins = np.linspace(0, steps - max_steps, count).round().astype(int)
    middles = begins + max_steps / 2
    borders = [0, *np.ceil((middles[:-1] + middles[1:]) / 2).astype(int).tolist(), steps]
    return [
        Stretch(int(begin), int(begin) + max_steps, borders[number], borders[number + 1])
        for number, begin in enumerate(begins)
    ]


@dataclass(frozen=True)
class StretchResult:
    """What is kept of a stretch: a few candidates, best first, and its own part of the curves."""

    spans: Float[np.ndarray, "C 2"]  # in seconds
    scores: Float[np.ndarray, "C"]
    log_evidence: float  # how much speaks for this stretch against others, in logarithms; 0 where scores need no weight
    # the stretch's own steps of each curve of the prediction; all but `inside` sum to 1 over all its steps
    curves: dict[str, Float[np.ndarray, "O"]]
    share: float  # the most probable step inside, the weight of the curves; 1 without P_in


def stretch_result(
    prediction: Prediction,
    row: int,
    stretch: Stretch,
    start_sec: Float[np.ndarray, "N"],
    end_sec: Float[np.ndarray, "N"],
    *,
    top: int,
    nms_threshold: float,
    alone: bool,
) -> StretchResult:
    """Reduce the prediction for one stretch to what is compared with the others.

    A prediction names steps whether the stretch holds the moment or not. So its scores need the prediction's `evidence`
    before they are compared with another stretch's. A span belongs to the stretch to whose middle its own is nearest;
    others leave it out, so that moments cut at an end do not compete with whole ones.

    Args:
        alone: there are no other stretches: scores stay P_start * P_end, as in the tables.
    """
    seconds = [torch.from_numpy(array[stretch.begin : stretch.end].copy())[None] for array in (start_sec, end_sec)]
    own = slice(stretch.own_begin - stretch.begin, stretch.own_end - stretch.begin)
    one = prediction.row(row)
    wanted = top if alone else max(top, _CANDIDATES)
    ranked = one.ranked(seconds[0], seconds[1], top=wanted, nms_threshold=nms_threshold)
    valid = ranked.valid_mask[0]
    spans, scores = ranked.span_sec[0, valid].numpy(), ranked.score[0, valid].double().numpy()
    log_evidence, share = 0.0, 1.0
    if not alone:
        step = torch.arange(stretch.end - stretch.begin)
        evidence = one.evidence(((step >= own.start) & (step < own.stop))[None])
        if evidence.log_weight is not None:
            log_evidence = float(evidence.log_weight[0])
        if evidence.inside is not None:
            times = {"start_sec": seconds[0][0].numpy(), "end_sec": seconds[1][0].numpy()}
            steps = span_to_steps(spans, **times) if ranked.steps is None else ranked.steps[0, valid].numpy()
            scores = scores * _mean_inside(evidence.inside[0], steps)
            share = float(evidence.inside[0, own].max())
    curves = {name: values[0, own].numpy() for name, values in one.curves().items()}
    middle = spans.mean(axis=1)
    low, high = start_sec[stretch.own_begin], end_sec[stretch.own_end - 1]
    # Closed at the video's end, where no other stretch takes over.
    kept = (middle >= low) & ((middle < high) | (stretch.own_end == len(start_sec)))
    return StretchResult(spans[kept], scores[kept], log_evidence, curves, share)


def merge(
    results: list[StretchResult],
    start_sec: Float[np.ndarray, "N"],
    end_sec: Float[np.ndarray, "N"],
    *,
    top: int,
    nms_threshold: float,
) -> tuple[list[Moment], Curve]:
    """The best candidates of all stretches, without near copies of better ones, and the curves joined."""
    evidence = np.array([result.log_evidence for result in results])
    weights = np.exp(evidence - np.logaddexp.reduce(evidence)) if len(results) > 1 and evidence.any() else evidence + 1
    spans = np.concatenate([result.spans for result in results])
    scores = np.concatenate([result.scores * weight for result, weight in zip(results, weights, strict=True)])
    moments: list[Moment] = []
    # A stable sort: of equal scores the earlier comes first, as in `vmr.model.decode.rank_spans`.
    for number in np.argsort(-scores, kind="stable"):
        taken = np.array([[moment.start_sec, moment.end_sec] for moment in moments]).reshape(-1, 2)
        if len(moments) < top and not (temporal_iou(spans[number][None], taken) > nms_threshold).any():
            moments.append(Moment(float(spans[number][0]), float(spans[number][1]), float(scores[number])))
    shares = [result.share * weight for result, weight in zip(results, weights, strict=True)]
    joined = {
        name: np.concatenate(
            [
                result.curves[name] * (1.0 if name == "inside" else share)
                for result, share in zip(results, shares, strict=True)
            ]
        )
        for name in results[0].curves
    }
    return moments, Curve(start_sec, end_sec, joined)


def _mean_inside(inside: Float[Tensor, "S"], steps: Int[np.ndarray, "C 2"]) -> Float[np.ndarray, "C"]:
    sums = np.concatenate([[0.0], np.cumsum(inside.double().numpy())])
    first, last = steps[:, 0], steps[:, 1]
    mean: Float[np.ndarray, C] = (sums[last + 1] - sums[first]) / (last + 1 - first)
    return mean
