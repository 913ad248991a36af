"""Spans: IoU, seconds to steps, pooling; values by hand, and the published oracle."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vmr.model.spans import pool_steps, span_to_steps, temporal_iou

STARTS = np.array([0.0, 1.0, 2.0, 3.0])
ENDS = np.array([1.0, 2.0, 3.0, 3.5])


@pytest.mark.parametrize(
    ("pred", "truth", "expected"),
    [
        ((0, 10), (0, 10), 1.0),
        ((0, 10), (5, 15), 1 / 3),
        ((0, 1), (1, 2), 0.0),
        ((0, 1), (5, 6), 0.0),
        ((2, 4), (0, 8), 0.25),
        ((3, 3), (0, 8), 0.0),
        ((3, 3), (3, 3), 1.0),
        ((3, 3), (4, 4), 0.0),
        ((8, 2), (0, 8), 0.0),  # A span that ends before it starts is a point.
    ],
)
def test_iou_by_hand(pred: tuple, truth: tuple, expected: float) -> None:
    found = temporal_iou(np.array(pred, dtype=float), np.array(truth, dtype=float))
    assert found == pytest.approx(expected, abs=1e-12)
    tensors = temporal_iou(torch.tensor(pred, dtype=torch.float64), torch.tensor(truth, dtype=torch.float64))
    assert isinstance(tensors, torch.Tensor)
    assert float(tensors) == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_iou_of_seconds_as_large_as_numbers_go() -> None:
    large = np.finfo(np.float64).max
    pred = np.array([[-large, large], [0.0, large], [-1e308, 1e308], [0.0, 10.0], [0.0, 1e308]])
    truth = np.array([[-large, large], [-large, large], [0.0, 10.0], [5.0, 15.0], [0.0, 5e307]])
    assert temporal_iou(pred, truth) == pytest.approx([1, 1 / 2, 0, 1 / 3, 1 / 2], abs=1e-12)


def test_iou_broadcasts() -> None:
    pred = np.random.default_rng(0).random((5, 7, 2)).cumsum(axis=-1)
    truth = pred[:, :1]
    assert temporal_iou(pred, truth).shape == (5, 7)
    assert (temporal_iou(pred, truth)[:, 0] == 1).all()


@given(st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4))
def test_iou_is_symmetric_and_bounded(numbers: list[float]) -> None:
    a, b = np.array(sorted(numbers[:2])), np.array(sorted(numbers[2:]))
    found = temporal_iou(a, b)
    assert 0.0 <= found <= 1.0
    assert found == temporal_iou(b, a)


@pytest.mark.parametrize(
    ("span", "steps"),
    [
        ((0.0, 3.5), (0, 3)),
        ((0.0, 1.0), (0, 0)),  # An end exactly at a step's start belongs to the step before,
        ((1.0, 1.5), (1, 1)),  # a start exactly at it to the step itself.
        ((0.5, 2.5), (0, 2)),
        ((0.999, 1.001), (0, 1)),
        ((3.5, 9.0), (3, 3)),  # Beyond the steps: the last one.
        ((9.0, 9.5), (3, 3)),
        ((2.0, 2.0), (2, 2)),  # No length: one step.
    ],
)
def test_steps_of_a_span(span: tuple, steps: tuple) -> None:
    assert span_to_steps(np.array([span]), start_sec=STARTS, end_sec=ENDS).tolist() == [list(steps)]


@pytest.mark.parametrize("steps", [1, 3, 128])
def test_short_videos_are_never_stretched(steps: int) -> None:
    features = np.arange(2.0 * steps).reshape(steps, 2)
    edges = np.arange(steps + 1.0)
    pooled = pool_steps(features, edges[:-1], edges[1:], max_steps=128)
    assert pooled[0] is features
    assert len(pooled[1]) == steps


def test_pooling_weighs_by_time() -> None:
    # Three seconds into two intervals of 1.5: the middle step is shared half and half.
    features = np.array([[3.0], [6.0], [12.0]], dtype=np.float32)
    pooled, start_sec, end_sec = pool_steps(features, np.arange(3.0), np.arange(1.0, 4.0), max_steps=2)
    assert pooled.ravel().tolist() == [(3 + 0.5 * 6) / 1.5, (0.5 * 6 + 12) / 1.5]
    assert start_sec.tolist() == [0.0, 1.5]
    assert end_sec.tolist() == [1.5, 3.0]
    assert pooled.dtype == np.float32


@pytest.mark.parametrize("steps", [129, 200, 256, 1000])
def test_pooling_keeps_the_mean_and_the_last_step(steps: int) -> None:
    features = np.zeros((steps, 1))
    features[-1] = 1.0
    edges = np.linspace(2.0, 60.0, steps + 1)
    pooled, start_sec, end_sec = pool_steps(features, edges[:-1], edges[1:], max_steps=128)
    assert pooled.shape == (128, 1)
    assert pooled[-1] > 0
    assert pooled.mean() == pytest.approx(features.mean())
    assert (start_sec[0], end_sec[-1]) == (2.0, 60.0)
    assert np.allclose(end_sec - start_sec, 58 / 128)


def test_pooling_across_a_gap_takes_the_nearest_step() -> None:
    features = np.array([[1.0], [2.0], [3.0], [4.0]])
    start_sec = np.array([0.0, 1.0, 98.0, 99.0])
    pooled, _, _ = pool_steps(features, start_sec, start_sec + 1, max_steps=3)
    assert pooled.ravel().tolist() == [1.5, 2.0, 3.5]


def test_max_steps_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_steps"):
        pool_steps(np.zeros((2, 1)), STARTS[:2], ENDS[:2], max_steps=0)


@pytest.mark.parametrize(
    ("truth", "recall", "miou"),
    # shared/reference/published.md: oracle with 128 bins on the test split of Charades-STA.
    [("raw", 99.19, 95.46), ("clamped", 100.00, 97.34)],
)
def test_oracle_of_charades_sta(shared_data, truth: str, recall: float, miou: float) -> None:
    folder = shared_data / "charades_sta"
    rows = (folder / "Charades_v1_test.csv").read_text(encoding="utf-8").splitlines()
    durations = {row.split(",")[0]: float(row.rsplit(",", 1)[1]) for row in rows[1:]}
    found = []
    for line in (folder / "charades_sta_test.txt").read_text(encoding="utf-8").splitlines():
        video, start, end = line.split("##")[0].split()
        raw = np.array([[float(start), float(end)]])
        clamped = raw.clip(0, durations[video])
        edges = np.linspace(0, durations[video], 129)
        steps = span_to_steps(clamped, start_sec=edges[:-1], end_sec=edges[1:])
        best = np.stack([edges[:-1][steps[:, 0]], edges[1:][steps[:, 1]]], axis=1)
        found.append(temporal_iou(best, raw if truth == "raw" else clamped)[0])
    assert round(100 * float((np.array(found) >= 0.7).mean()), 2) == recall
    assert round(100 * float(np.mean(found)), 2) == miou


def test_the_hull_as_the_union_differs_by_rounding_alone() -> None:
    random = np.random.default_rng(0)
    pred, truth = np.sort(random.random((2, 5000, 2)) * 100, axis=-1)
    plain, hull = temporal_iou(pred, truth), temporal_iou(pred, truth, hull=True)
    np.testing.assert_allclose(hull, plain, rtol=0, atol=1e-12)
    assert ((hull == 0) == (plain == 0)).all()
    # No threshold divides the two where no tie is.
    assert all(((hull >= threshold) == (plain >= threshold)).all() for threshold in np.arange(0.05, 1, 0.05))
    ties = np.array([[2.5, 10.5], [3.0, 3.0]]), np.array([[2.3, 6.6], [3.0, 3.0]])
    assert temporal_iou(*ties, hull=True).tolist() == [0.5, 1.0]
