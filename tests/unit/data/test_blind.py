"""Exchanged inputs: who gets whose query or video, and that nothing of its own is left to see."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vmr.data.blind import EVALUATION_SEED, exchange_by_split, exchange_input, other_queries, others_there
from vmr.data.collate import Collator
from vmr.data.samples import Samples
from vmr.data.video_steps import VideoSteps
from vmr.errors import FeatureError, QueryError

COUNTS = [4, 2, 6, 3]
# Word k stands for sample k, and feature 100 v + t for step t of video v: whose they are can be read off.
VIDEO = [0, 0, 1, 1, 2, 2, 3, 3]
VECTORS = np.arange(9, dtype=np.float32)[:, None]


def make_videos() -> VideoSteps:
    rows = [100.0 * video + step for video, count in enumerate(COUNTS) for step in range(count)]
    counts = torch.tensor(COUNTS)
    starts = [float(step) for count in COUNTS for step in range(count)]
    return VideoSteps(
        index={f"v{video}": video for video in range(len(COUNTS))},
        rows=torch.tensor([*rows, 0.0])[:, None],
        offsets=torch.cumsum(counts, 0) - counts,
        counts=counts,
        start_sec=torch.tensor([*starts, 0.0]),
        end_sec=torch.tensor([*(start + 1 for start in starts), 0.0]),
        digest="",
    )


def make_samples(video: list[int]) -> Samples:
    count = len(video)
    return Samples(
        query_ids=[f"q{row}" for row in range(count)],
        splits=["train"] * count,
        video_ids=[f"v{number}" for number in video],
        video=torch.tensor(video),
        tokens=torch.arange(1, count + 1)[:, None].expand(-1, 2).clone(),
        word_counts=torch.tensor([1 + row % 2 for row in range(count)]),
        labels=torch.zeros(count, 2, dtype=torch.int64),
        span_sec=torch.zeros(count, 2, dtype=torch.float64),
        share=torch.zeros(count, 2),
        dropped=[],
    )


@pytest.mark.parametrize("seed", range(20))
def test_every_query_goes_to_one_sample_of_another_video(seed: int) -> None:
    samples = make_samples(VIDEO)
    blind = exchange_input(samples, "query", seed=(seed, 1))
    source = (blind.tokens[:, 0] - 1).tolist()
    assert sorted(source) == list(range(8))
    assert all(VIDEO[row] != VIDEO[other] for row, other in enumerate(source))
    assert blind.word_counts.tolist() == samples.word_counts[source].tolist()
    assert torch.equal(blind.video, samples.video)
    assert blind.shown_video is None
    batch = Collator(make_videos(), VECTORS)(blind, np.arange(8))
    assert batch.words[:, 0, 0].tolist() == [other + 1 for other in source]
    assert batch.features[batch.video, 0, 0].tolist() == [100.0 * video for video in VIDEO]


def test_what_the_own_query_says_changes_nothing() -> None:
    samples = make_samples(VIDEO)
    blind = exchange_input(samples, "query", seed=(0,))
    changed = replace(samples, tokens=samples.tokens.clone())
    changed.tokens[3] = 8
    other = exchange_input(changed, "query", seed=(0,))
    assert torch.equal(blind.tokens[3], other.tokens[3])
    assert not torch.equal(blind.tokens, other.tokens)  # Somebody else got it.


@pytest.mark.parametrize("seed", range(20))
def test_every_video_is_shown_another(seed: int) -> None:
    samples = make_samples(VIDEO)
    blind = exchange_input(samples, "video", seed=(seed, 1))
    shown = blind.shown_video.tolist()
    assert all(own != other for own, other in zip(VIDEO, shown, strict=True))
    assert len(set(zip(VIDEO, shown, strict=True))) == 4  # Queries to one video are shown the same one.
    assert sorted(set(shown)) == [0, 1, 2, 3]
    assert torch.equal(blind.tokens, samples.tokens)
    batch = Collator(make_videos(), VECTORS)(blind, np.arange(8))
    assert batch.step_counts.tolist() == [COUNTS[video] for video in VIDEO]
    for row, other in enumerate(shown):
        count = COUNTS[VIDEO[row]]
        features = batch.features[batch.video[row], :, 0]
        assert (features[:count] // 100 == other).all()
        assert not features[count:].any()


def test_other_videos_are_fitted_to_the_own_number_of_steps() -> None:
    samples = make_samples([0, 1, 2, 3])
    samples = replace(samples, shown_video=torch.tensor([2, 0, 1, 3]))
    batch = Collator(make_videos(), VECTORS)(samples, np.arange(4))
    rows = batch.features[batch.video, :, 0]
    # Middles of 4 steps among 6: 0.75, 2.25, 3.75, 5.25; of 2 among 4: 1, 3; of 6 among 2: three of each.
    assert rows[0, :4].tolist() == [200.0, 202.0, 203.0, 205.0]
    assert rows[1, :2].tolist() == [1.0, 3.0]
    assert rows[2].tolist() == [100.0, 100.0, 100.0, 101.0, 101.0, 101.0]
    assert rows[3, :3].tolist() == [300.0, 301.0, 302.0]


def test_the_exchange_is_a_function_of_the_seed() -> None:
    samples = make_samples(VIDEO)
    for what, field in (("query", "tokens"), ("video", "shown_video")):
        first = getattr(exchange_input(samples, what, seed=(1, 2)), field)
        assert torch.equal(first, getattr(exchange_input(samples, what, seed=(1, 2)), field))
        others = [getattr(exchange_input(samples, what, seed=(1, seed)), field) for seed in range(3, 8)]
        assert not all(torch.equal(first, other) for other in others)


def test_partners_are_spread_evenly() -> None:
    # Every sample of another video is as likely: 6 of 8, 3,000 draws, so 500 each and a deviation of 20.
    met = np.zeros((8, 8))
    for seed in range(3000):
        met[np.arange(8), other_queries(np.array(VIDEO), np.random.default_rng(seed))] += 1
    foreign = np.not_equal.outer(VIDEO, VIDEO)
    assert not met[~foreign].any()
    assert met[foreign].min() > 400
    assert met[foreign].max() < 600


@pytest.mark.parametrize("video", [[0, 0, 0, 0, 1], [2, 2], [0, 1, 2], [0, 0, 0, 1, 1, 1]])
@pytest.mark.parametrize("seed", range(5))
def test_nobody_keeps_a_query_whatever_the_videos(video: list[int], seed: int) -> None:
    source = other_queries(np.array(video), np.random.default_rng(seed))
    assert sorted(source.tolist()) == list(range(len(video)))
    assert (source != np.arange(len(video))).all()


def test_one_video_may_be_shown_those_of_other_samples() -> None:
    for seed in range(10):
        blind = exchange_input(make_samples([2, 2]), "video", seed=(seed,), besides=make_samples([0, 3]))
        assert blind.shown_video.tolist() in ([0, 0], [3, 3])


def test_one_query_may_become_one_of_other_samples() -> None:
    besides = make_samples([0, 3, 1])
    longer = replace(besides, tokens=torch.cat([besides.tokens + 4, besides.tokens], dim=1))
    for seed in range(10):
        blind = exchange_input(make_samples([2]), "query", seed=(seed,), besides=longer)
        assert len(blind) == 1 and blind.video.tolist() == [2]
        taken = int(blind.tokens[0, 0]) - 5
        assert blind.tokens[0].tolist() == longer.tokens[taken].tolist()
        assert blind.word_counts.tolist() == [longer.word_counts[taken]]


@pytest.mark.parametrize("what", ["query", "video"])
def test_splits_are_exchanged_together_as_they_are_alone(what: str) -> None:
    # Rows of both splits in turns; the third split has one query, to a video of the others.
    split = ["val_1", "val_2"] * 4
    both = replace(make_samples(VIDEO), splits=split)
    blind = exchange_by_split(both, what, besides=None)
    for name in ("val_1", "val_2"):
        rows = [row for row in range(8) if split[row] == name]
        alone = exchange_input(both.take(rows), what, seed=EVALUATION_SEED)
        assert torch.equal(blind.take(rows).tokens, alone.tokens)
        assert torch.equal(blind.take(rows).word_counts, alone.word_counts)
        if what == "video":
            assert torch.equal(blind.shown_video[rows], alone.shown_video)
    assert blind.query_ids == both.query_ids and blind.splits == split
    assert torch.equal(both.tokens, make_samples(VIDEO).tokens)

    lonely = replace(make_samples([*VIDEO, 1]), splits=[*split, "other"])
    assert exchange_by_split(lonely, what, besides=None).query_ids == both.query_ids
    helped = exchange_by_split(lonely, what, besides=make_samples([4, 4]))
    assert len(helped) == 9
    assert torch.equal(helped.tokens[:8], blind.tokens)
    if what == "video":
        assert helped.shown_video.tolist() == [*blind.shown_video.tolist(), 4]


def test_whether_there_are_others() -> None:
    one, two = make_samples([2]), make_samples([2, 2])
    assert not others_there(one, "query") and others_there(two, "query") and others_there(one, "query", besides=one)
    assert not others_there(two, "video") and not others_there(two, "video", besides=one)
    assert others_there(two, "video", besides=make_samples([0]))


def test_one_query_or_video_cannot_be_exchanged() -> None:
    with pytest.raises(QueryError, match="1 query with features cannot be exchanged"):
        exchange_input(make_samples([0]), "query", seed=(0,))
    with pytest.raises(FeatureError, match="3 queries of train have 1 video"):
        exchange_input(make_samples([2, 2, 2]), "video", seed=(0,))
