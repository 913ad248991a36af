"""Losses by hand, and ranked spans against a slow version that looks at every pair."""

import math

import numpy as np
import pytest
import torch
from reference import ci_mha_reference as reference

from vmr.model.decode import rank_spans, single_spans
from vmr.model.losses import (
    attention_guidance_loss,
    boundaries_loss,
    distinct_phrases_loss,
    extended_labels,
    regression_loss,
    segmentation_loss,
)
from vmr.model.prediction import BoundaryPrediction


def test_boundaries_loss_by_hand() -> None:
    start = torch.tensor([[0.0, math.log(3.0), -math.inf], [0.0, 0.0, 0.0]])
    end = torch.tensor([[0.0, 0.0, -math.inf], [math.log(2.0), 0.0, 0.0]])
    expected = (-math.log(3 / 4) - math.log(1 / 3)) / 2 + (-math.log(1 / 2) - math.log(1 / 4)) / 2
    found = boundaries_loss(BoundaryPrediction(start, end, None), torch.tensor([[1, 1], [2, 2]]))
    assert float(found) == pytest.approx(expected)


def test_segmentation_loss_by_hand() -> None:
    # Each video counts the same, however many steps it has; positives are inclusive on both sides.
    logits = torch.tensor([[math.log(3.0), math.log(3.0), 0.0, 0.0], [0.0, 99.0, 99.0, 99.0]])
    first = (2 * -math.log(3 / 4) + 2 * math.log(2)) / 4
    found = segmentation_loss(logits, torch.tensor([[0, 1], [0, 0]]), torch.tensor([4, 1]))
    assert float(found) == pytest.approx((first + math.log(2)) / 2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("top", "threshold"), [(1, 0.5), (5, 0.5), (5, 0.2), (7, 1.0)])
def test_ranked_spans_agree_with_all_pairs(seed: int, top: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    counts = [1, 2, 6, 9]
    start, end = (torch.full((4, 9), -math.inf, dtype=torch.float64) for _ in range(2))
    start_sec, end_sec = torch.zeros(4, 9).double(), torch.zeros(4, 9).double()
    for row, n in enumerate(counts):
        start[row, :n] = torch.from_numpy(3 * random.normal(size=n))
        end[row, :n] = torch.from_numpy(3 * random.normal(size=n))
        edges = torch.from_numpy(np.cumsum(random.random(n + 1) + 0.1))
        start_sec[row, :n], end_sec[row, :n] = edges[:-1], edges[1:]
    found = rank_spans(start, end, start_sec, end_sec, top=top, nms_threshold=threshold)
    for row, n in enumerate(counts):
        p_start, p_end = start[row, :n].softmax(0).numpy(), end[row, :n].softmax(0).numpy()
        times = start_sec[row, :n].numpy(), end_sec[row, :n].numpy()
        expected = reference.ranked_spans(p_start, p_end, *times, top=top, threshold=threshold)
        valid = found.valid_mask[row]
        assert [tuple(pair) for pair in found.steps[row][valid].tolist()] == expected
        for (i, j), seconds, score in zip(
            expected, found.span_sec[row][valid].tolist(), found.score[row][valid].tolist(), strict=True
        ):
            assert seconds == [times[0][i], times[1][j]]
            assert score == pytest.approx(p_start[i] * p_end[j])


@pytest.mark.parametrize("sharpness", [0.0, 0.3, 3.0, 30.0])
def test_candidates_rank_as_all_pairs_do(sharpness: float) -> None:
    # 60 steps have 1,830 pairs, more than are looked at first. Flat logits (many equal products, and candidates that
    # all overlap) need all of them; peaked ones do not. Seconds of steps are alike, so that overlaps are exact.
    random, n = np.random.default_rng(0), 60
    start, end = (torch.from_numpy(sharpness * random.normal(size=(3, n)).round(1)) for _ in range(2))
    start[2, 5:] = end[2, 5:] = -math.inf  # a video of five steps: fewer pairs than candidates
    edges = torch.arange(n + 1.0).double().expand(3, -1)
    found = rank_spans(start, end, edges[:, :-1], edges[:, 1:], top=5, nms_threshold=0.3)
    for row, count in enumerate([n, n, 5]):
        log_start, log_end = (x[row].log_softmax(0)[:count] for x in (start, end))
        pairs = [(i, j) for i in range(count) for j in range(i, count)]
        pairs.sort(key=lambda pair: -float(log_start[pair[0]] + log_end[pair[1]]))
        expected: list[tuple[int, int]] = []
        for i, j in pairs:
            overlaps = [max(0, min(j, b) - max(i, a) + 1) / (max(j, b) - min(i, a) + 1) for a, b in expected]
            if len(expected) < 5 and max(overlaps, default=0.0) <= 0.3:
                expected.append((i, j))
        assert [tuple(pair) for pair in found.steps[row][found.valid_mask[row]].tolist()] == expected


def test_ties_go_to_the_earliest_and_shortest() -> None:
    flat, edges = torch.zeros(1, 3), torch.arange(4.0)[None]
    found = rank_spans(flat, flat, edges[:, :-1], edges[:, 1:], top=3, nms_threshold=0.3)
    assert found.steps[0].tolist() == [[0, 0], [1, 1], [2, 2]]


def test_the_end_never_comes_before_the_start() -> None:
    start, end = torch.tensor([[0.0, 9.0]]), torch.tensor([[9.0, 0.0]])
    edges = torch.arange(3.0)[None]
    assert rank_spans(start, end, edges[:, :-1], edges[:, 1:]).steps[0, 0].tolist() in ([0, 0], [1, 1])


def test_overlap_of_exactly_the_threshold_is_kept() -> None:
    flat, edges = torch.zeros(1, 2), torch.arange(3.0)[None]
    found = rank_spans(flat, flat, edges[:, :-1], edges[:, 1:], top=3, nms_threshold=0.5)
    assert found.steps[0].tolist() == [[0, 0], [0, 1], [1, 1]]


def test_extended_labels_by_hand() -> None:
    # Lengths 4, 5, 20, 10, 1; a tenth of them, halves up: 0, 1, 2, 1, 0; videos of 30 steps but for the fourth.
    labels = torch.tensor([[3, 6], [3, 7], [5, 24], [1, 10], [8, 8]])
    found = extended_labels(labels, torch.tensor([30, 30, 30, 11, 30]), ratio=0.1)
    assert found.tolist() == [[3, 6], [2, 8], [3, 26], [0, 10], [8, 8]]
    assert extended_labels(labels[:1], torch.tensor([30]), ratio=0.5).tolist() == [[1, 8]]
    assert extended_labels(torch.tensor([[0, 3]]), torch.tensor([5]), ratio=1.0).tolist() == [[0, 4]]


def test_regression_loss_by_hand() -> None:
    # 0.5 * 0.2^2 + 0.5 * 0.1^2 = 0.025; beyond an error of 1 it is linear: 2.5 - 0.5, and 0.
    span, share = torch.tensor([[0.4, 0.5], [3.0, 1.0]]), torch.tensor([[0.2, 0.6], [0.5, 1.0]])
    assert float(regression_loss(span, share)) == pytest.approx((0.025 + 2.0) / 2)


def test_attention_guidance_loss_by_hand() -> None:
    # Attention 1/8, 3/8, 4/8 and, in the second video of two steps, 1/4, 3/4.
    logits = torch.tensor([[1.0, 3.0, 4.0], [1.0, 3.0, 0.0]]).log()
    found = attention_guidance_loss(logits, torch.tensor([[1, 2], [0, 0]]))
    assert float(found) == pytest.approx(((-math.log(3 / 8) - math.log(4 / 8)) / 2 - math.log(1 / 4)) / 2)
    logits.requires_grad_()
    attention_guidance_loss(logits, torch.tensor([[0, 2], [0, 1]])).backward()
    assert logits.grad.isfinite().all()


def test_distinct_phrases_loss_by_hand() -> None:
    apart = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]])
    # The diagonal is 1 and 0.5, the rest 0.
    assert float(distinct_phrases_loss(apart, overlap=0.3)) == pytest.approx(0.7**2 + 0.2**2)
    same = torch.tensor([[[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]])
    # All four entries are 0.5.
    assert float(distinct_phrases_loss(same, overlap=0.3)) == pytest.approx(2 * 0.2**2 + 2 * 0.5**2)
    both = float(distinct_phrases_loss(torch.cat([apart, same]), overlap=0.3))
    assert both == pytest.approx((0.53 + 0.58) / 2)


def test_a_single_span_by_hand() -> None:
    # A video of three steps from 1 s to 7 s, and one of two from 0 s to 4 s.
    start_sec = torch.tensor([[1.0, 3.0, 5.0], [0.0, 2.0, 0.0]], dtype=torch.float64)
    end_sec = torch.tensor([[3.0, 5.0, 7.0], [2.0, 4.0, 0.0]], dtype=torch.float64)
    found = single_spans(torch.tensor([[0.5, 0.25], [-0.5, 1.5]]), start_sec, end_sec, top=3)
    assert found.span_sec[:, 0].tolist() == [[2.5, 4.0], [0.0, 4.0]]
    assert found.valid_mask.tolist() == [[True, False, False]] * 2
    assert found.score.tolist() == [[1.0, 0.0, 0.0]] * 2
    assert found.steps is None
