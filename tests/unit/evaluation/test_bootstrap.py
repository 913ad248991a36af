"""`vmr.evaluation.bootstrap` by hand, against all draws enumerated, and against the standard error of a mean."""

import math
from fractions import Fraction

import numpy as np
import pytest
from reference import evaluation_reference as reference

from vmr.evaluation import bootstrap
from vmr.evaluation.bootstrap import (
    confidence_by_video,
    covered_scores,
    intervals,
    mean_sums,
    read_video_scores,
    resampled_means,
    same_videos,
    sum_by_video,
    write_video_scores,
)
from vmr.evaluation.metrics import METRICS


def _values(column):
    """The same number for every metric of a query."""
    return {"raw": np.repeat(np.array(column, dtype=float)[:, None], len(METRICS), axis=1)}


def test_two_videos_by_hand(monkeypatch):
    # One query that is right in a, three that are wrong in b. Of four equally likely draws, aa scores 1, ab and ba
    # score 1/4 and bb scores 0.
    videos = sum_by_video(_values([1, 0, 0, 0]), video_ids=["a", "b", "b", "b"])
    assert videos.queries.tolist() == [1, 3]
    means = resampled_means(videos.sums["raw"], queries=videos.queries, seed=0, resamples=10_000)[:, 0]
    share, count = np.unique(means, return_counts=True)
    assert share.tolist() == [0, 0.25, 1]
    # 0.0043 is the standard error of a share of 1/4 in 10,000 draws, 0.005 that of a half.
    assert (count / 10_000).tolist() == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    assert intervals(videos.sums["raw"], queries=videos.queries)["mIoU"] == [0, 100]
    # The middle half of the draws ends at 1/4 below (from 25 % on) or at 0, and at 1/4 above or at 1: well inside
    # of it both ends are 1/4.
    monkeypatch.setattr(bootstrap, "TAILS", (0.3, 0.7))
    assert intervals(videos.sums["raw"], queries=videos.queries)["mIoU"] == [25, 25]


def test_the_distribution_equals_all_draws_enumerated():
    queries_of = [[0.25, 0.5], [1.0], [0.0, 0.0, 0.75]]
    exact = reference.bootstrap_distribution(queries_of)
    assert sum(exact.values()) == 1
    ids = [str(number) for number, own in enumerate(queries_of) for _ in own]
    videos = sum_by_video(_values([value for own in queries_of for value in own]), video_ids=ids)
    draws = 20_000
    means = resampled_means(videos.sums["raw"], queries=videos.queries, seed=3, resamples=draws)[:, -1]
    for mean, chance in exact.items():
        found = np.isclose(means, float(mean), atol=1e-12).mean()
        assert found == pytest.approx(float(chance), abs=4 * math.sqrt(chance * (1 - chance) / draws))
    assert Fraction(5, 12) in exact  # the score itself: 2.5 of 6 queries


def test_one_query_a_video_has_the_standard_error_of_a_mean():
    column = np.random.default_rng(3).random(500) ** 2
    videos = sum_by_video(_values(column), video_ids=[f"v{i}" for i in range(500)])
    means = resampled_means(videos.sums["raw"], queries=videos.queries, seed=1, resamples=4000)[:, 0]
    analytic = column.std() / math.sqrt(500)
    # The standard deviation of 4,000 draws is itself known to 1 / sqrt(8,000) = 1.1 %.
    assert means.std() == pytest.approx(analytic, rel=0.045)
    low, high = intervals(videos.sums["raw"], queries=videos.queries, resamples=4000)["mIoU"]
    assert [low, high] == pytest.approx([100 * (column.mean() + z * analytic) for z in (-1.96, 1.96)], abs=0.25)


def test_seeds_repeat_and_one_video_has_no_interval():
    videos = sum_by_video(_values([0, 1, 1, 0, 1]), video_ids=list("abcde"))
    once = confidence_by_video(videos, seed=1)
    assert once == confidence_by_video(videos, seed=1)
    assert (once["level"], once["resamples"], once["unit"]) == (0.95, 1000, "video")
    many = sum_by_video(_values(np.random.default_rng(0).random(50)), video_ids=[str(i) for i in range(50)])
    assert confidence_by_video(many, seed=1)["raw"] != confidence_by_video(many, seed=2)["raw"]
    assert confidence_by_video(sum_by_video(_values([0, 1]), video_ids=["v", "v"]), seed=0) is None


def test_the_difference_of_two_methods_is_paired():
    hard = np.random.default_rng(0).random(80)
    names = [f"v{i}" for i in range(80)]
    one, other = (sum_by_video(_values(column), video_ids=names) for column in (hard + 0.1, hard))
    difference = one.sums["raw"] - other.sums["raw"]
    # The same 0.1 in each video: no choice of videos can change it, however much the scores themselves move.
    assert intervals(difference, queries=one.queries)["mIoU"] == pytest.approx([10, 10])
    low, high = intervals(one.sums["raw"], queries=one.queries)["mIoU"]
    assert high - low > 5


def test_covered_scores_and_means_over_seeds():
    ids, covered = ["a", "a", "b"], np.array([True, True, False])
    one = sum_by_video(_values([1, 0, 1]), video_ids=ids, covered_mask=covered)
    other = sum_by_video(_values([1, 1, 0]), video_ids=ids, covered_mask=covered)
    assert one.covered_mask.tolist() == [True, False]
    assert covered_scores(one, one.covered_mask)["raw"]["mIoU"] == 50
    assert covered_scores(mean_sums([one, other]), one.covered_mask)["raw"]["mIoU"] == 75
    assert covered_scores(one, np.array([False, False])) == {}
    assert not same_videos(one, sum_by_video(_values([1, 0, 1]), video_ids=["a", "b", "b"]))
    assert not same_videos(one, sum_by_video(_values([1, 0, 1]), video_ids=["a", "a", "c"]))


def test_sums_come_back_from_the_file(tmp_path):
    random = np.random.default_rng(0)
    rows = [
        sum_by_video(
            {name: random.random((4, len(METRICS))) for name in ("raw", "clamped")},
            video_ids=["007", "nan", "a,b", "007"],
            covered_mask=np.array([True, False, True, True]),
        )
        for _ in range(2)
    ]
    path = tmp_path / "scores.csv"
    write_video_scores(path, rows)
    back = read_video_scores(path)
    assert len(back) == 2
    for one, other in zip(rows, back, strict=True):
        assert same_videos(one, other)
        assert other.video_ids == ("007", "nan", "a,b")
        assert other.covered_mask.tolist() == [True, False, True]
        for name in ("raw", "clamped"):
            assert np.array_equal(one.sums[name], other.sums[name])
