"""Proposals: ranking against the slow reference, ties, what is cut and dropped, curves."""

import math

import pytest
import torch
from reference import proposals_reference as reference

from vmr.model.prediction import ProposalPrediction

EVEN = [[0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]]
UNEVEN = [[0.0, 1.0, 4.0, 6.0], [1.0, 4.0, 6.0, 10.0]]


def predicted(shares, scores, valid=None, *, counts=(4,), steps=4) -> ProposalPrediction:
    share, score = torch.tensor(shares), torch.tensor(scores)
    mask = torch.ones_like(score, dtype=torch.bool) if valid is None else torch.tensor(valid)
    return ProposalPrediction(share, score, mask, torch.tensor(counts), steps)


def spans_of(prediction, times, *, top=5, nms_threshold=0.5, row=0):
    start, end = (torch.tensor(side, dtype=torch.float64).expand(len(prediction.score), -1) for side in times)
    found = prediction.ranked(start, end, top=top, nms_threshold=nms_threshold)
    kept = found.valid_mask[row]
    return [
        (*span, round(logit, 5))
        for span, logit in zip(found.span_sec[row][kept].tolist(), found.score[row][kept].logit().tolist(), strict=True)
    ]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0.3, 0.5, 1.0])
def test_ranking_is_that_of_the_reference(seed: int, threshold: float) -> None:
    random = torch.Generator().manual_seed(seed)
    counts, steps = torch.tensor([6, 3, 1]), 6
    share = torch.rand(3, 20, 2, generator=random) * 1.6 - 0.3  # many outside, and in the wrong order
    score = torch.randint(-3, 3, (3, 20), generator=random).float()  # many ties
    score[0, 3] = -math.inf
    valid = torch.rand(3, 20, generator=random) < 0.7
    valid[2] = seed > 0  # nothing at all for one of them
    length = torch.rand(3, steps, generator=random, dtype=torch.float64) + 0.1
    real = torch.arange(steps) < counts[:, None]
    end = length.cumsum(1) * real
    start = (end - length) * real
    found = ProposalPrediction(share, score, valid, counts, steps).ranked(start, end, top=4, nms_threshold=threshold)
    for row, count in enumerate(counts.tolist()):
        expected = reference.ranked(
            share[row].tolist(), score[row].tolist(), valid[row].tolist(), start[row, :count].tolist(),
            float(end[row, count - 1]), top=4, threshold=threshold,
        )  # fmt: skip
        kept = found.valid_mask[row]
        assert int(kept.sum()) == len(expected) and kept[: len(expected)].all()
        got = torch.cat([found.span_sec[row][kept], found.score[row][kept].logit()[:, None]], dim=1)
        torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-7)


def test_ties_rank_by_earlier_start_and_then_earlier_end() -> None:
    prediction = predicted([[[0.5, 1.0], [0.0, 0.5], [0.0, 0.25]]], [[1.0, 1.0, 1.0]])
    assert spans_of(prediction, EVEN, nms_threshold=0.9) == [(0, 1, 1), (0, 2, 1), (2, 4, 1)]


def test_shares_are_places_among_the_steps() -> None:
    prediction = predicted([[[0.25, 0.625]]], [[3.0]])
    assert spans_of(prediction, EVEN) == [(1.0, 2.5, 3.0)]
    assert spans_of(prediction, UNEVEN) == [(1.0, 5.0, 3.0)]


def test_cut_dropped_and_the_whole_video_when_nothing_is_left() -> None:
    assert spans_of(predicted([[[-0.5, 0.5], [0.6, 0.6], [1.2, 1.5]]], [[0.0, 9.0, 9.0]]), EVEN) == [(0.0, 2.0, 0.0)]
    assert spans_of(predicted([[[0.0, 0.5]]], [[1.0]], [[False]]), UNEVEN) == [(0.0, 10.0, 0.0)]
    assert spans_of(predicted([[[0.0, 0.5]]], [[-math.inf]]), UNEVEN) == [(0.0, 10.0, 0.0)]


def test_an_answer_that_is_no_number_stays_one() -> None:
    ((*_, score),) = spans_of(predicted([[[0.0, 0.5]]], [[math.nan]]), EVEN, top=1)
    assert math.isnan(score)


def test_the_curve_is_the_best_proposal_over_each_step() -> None:
    shares, scores = [[[0.0, 0.5], [0.25, 1.0]]] * 2, [[0.0, 2.0]] * 2
    prediction = predicted(shares, scores, [[True, True], [True, False]], counts=(4, 2))
    high = 1 / (1 + math.exp(-2))
    expected = torch.tensor([[0.5, high, high, high], [0.5, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(prediction.curves()["inside"], expected)
    assert prediction.evidence(torch.ones(2, 4, dtype=torch.bool)).log_weight is None
