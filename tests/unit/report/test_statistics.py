"""`vmr.report.statistics`: numbers worked out by hand."""

import numpy as np
import pytest

from vmr.report.statistics import iou_shares, quantile_bins, recall_by_bin, recall_curve, share_bins, span_density


def test_recall_falls_with_the_threshold_and_ties_count():
    iou = np.array([0.0, 0.3, 0.5, 0.7, 1.0])
    # 0.3 is reached by four of five, 0.5 by three, 0.7 by two, 0.71 by one.
    assert recall_curve(iou, np.array([0.01, 0.3, 0.5, 0.7, 0.71, 1.0])).tolist() == [80, 80, 60, 40, 20, 20]
    assert recall_curve(np.array([]), np.array([0.5])).tolist() == [0]


def test_zeros_stand_apart_in_the_distribution():
    zeros, shares = iou_shares(np.array([0.0, 0.0, 0.01, 0.05, 0.5, 0.97, 1.0, 1.0]))
    assert zeros == 25.0
    expected = np.zeros(20)
    expected[[0, 1, 10]] = 12.5  # 0.05 opens the second twentieth, 0.5 the eleventh
    expected[19] = 37.5  # 0.97 and both ones: the last is closed
    np.testing.assert_allclose(shares, expected)
    assert zeros + shares.sum() == pytest.approx(100)


def test_quantile_bins_hold_as_many_each():
    bins = quantile_bins(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, np.nan]), unit="seconds", count=4)
    # Quartiles of 1 to 8: 2.75, 4.5, 6.25, rounded to a decimal (half to even).
    assert bins.member.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, -1]
    assert bins.labels == ("1.0–2.8", "2.8–4.5", "4.5–6.2", "6.2–8.0")
    assert bins.counts() == [2, 2, 2, 2]


def test_whole_numbers_are_named_by_first_and_last():
    bins = quantile_bins(np.array([3.0, 3, 4, 5, 6, 7, 8, 20]), unit="words", count=4, whole=True)
    # Quartiles 3.75, 5.5, 7.25, rounded up: bins begin at 3, 4, 6, 8.
    assert bins.labels == ("3", "4–5", "6–7", "8–20")
    assert bins.counts() == [2, 2, 2, 2]


@pytest.mark.parametrize("values", [[4.0, 4.0, 4.0], [4.0]])
def test_equal_values_share_one_bin(values):
    bins = quantile_bins(np.array(values), unit="seconds")
    assert bins.labels == ("4.0",)
    assert bins.counts() == [len(values)]


def test_nothing_known_makes_no_bins():
    bins = quantile_bins(np.array([np.nan, np.nan]), unit="seconds")
    assert bins.labels == () and bins.member.tolist() == [-1, -1]


def test_every_query_is_in_the_bin_that_names_it():
    values = np.random.default_rng(0).gamma(2.0, 5.0, size=500).round(2)
    bins = quantile_bins(values, unit="seconds")
    for value, member in zip(values, bins.member, strict=True):
        low, high = map(float, bins.labels[member].split("–"))
        assert low - 0.051 <= value <= high + 0.051  # the outer edges are printed rounded
    assert max(bins.counts()) - min(bins.counts()) <= 10


def test_shares_are_cut_into_fifths():
    bins = share_bins(np.array([-0.1, 0.0, 0.19, 0.2, 0.6, 0.99, 1.0, 1.2, np.nan]), unit="%")
    assert bins.member.tolist() == [0, 0, 0, 1, 3, 4, 4, 4, -1]
    assert bins.labels == ("0–20", "20–40", "40–60", "60–80", "80–100")


def test_recall_by_bin_is_a_mean_with_an_interval_over_videos():
    hits = np.array([1.0, 0.5, 0.0, 1.0, 1.0])
    bins = share_bins(np.array([0.1, 0.1, 0.1, 0.9, np.nan]), unit="%")
    scores = recall_by_bin(hits, bins, video_ids=["a", "a", "b", "c", "c"])
    first, last = scores[0], scores[-1]
    assert first.value == pytest.approx(50.0)
    # Two videos: drawn both times b gives 0, both times a 75.
    assert first.limits == (0.0, 75.0)
    assert last.value == 100.0 and last.limits is None  # a single video has no interval
    assert scores[1:4] == [None, None, None]


def test_density_counts_starts_and_ends_as_shares():
    spans = np.array([[0.0, 5.0], [0.0, 5.0], [6.0, 12.0], [np.nan, np.nan], [1.0, 2.0]])
    duration = np.array([10.0, 10.0, 10.0, 10.0, np.nan])
    density = span_density(spans, duration, cells=2)
    # Two of three known spans start in the first half and end at 0.5, which opens the second; one leaves the video.
    np.testing.assert_allclose(density, [[0, 200 / 3], [0, 100 / 3]])
    assert not span_density(spans[3:], duration[3:], cells=2).any()
