"""Loading features, building samples, and gathering batches."""

import errno
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vmr.data.collate import Collator, draw_negatives, ordered_batches, training_batches
from vmr.data.samples import build_samples
from vmr.data.video_steps import load_videos
from vmr.errors import FeatureError, QueryError, ShardError
from vmr.features.store import VideoFeatures
from vmr.model.batch import PairTargets, Targets
from vmr.queries.store import QueryStore, write_query_store


@dataclass
class MemoryStore:
    """Has what `load_videos` asks of a feature store."""

    videos: dict[str, VideoFeatures] = field(default_factory=dict)
    dim: int = 3

    def __contains__(self, name: str) -> bool:
        return name in self.videos

    def get(self, name: str) -> VideoFeatures:
        video = self.videos[name]
        return replace(video, digest=f"{video.features.tolist()} {video.start_sec.tolist()} {video.end_sec.tolist()}")


def video(steps: int, *, seed: int = 0, dim: int = 3, scale: float = 1.0) -> VideoFeatures:
    edges = np.arange(steps + 1) / 3
    features = scale * np.random.default_rng(seed).normal(size=(steps, dim))
    return VideoFeatures(features.astype(np.float32), edges[:-1], edges[1:])


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore({"long": video(9, seed=1), "mid": video(4, seed=2), "one": video(1, seed=3)})


@pytest.fixture
def queries(tmp_path: Path) -> QueryStore:
    tokens = {"q1": [1, 0, 2], "q2": [2], "q3": [1, 1], "q4": [0], "q5": [2, 1]}
    vectors = np.array([[0, 0], [1, 2], [3, 4]], dtype=np.float32)
    write_query_store(tmp_path / "q.h5", token_ids=tokens, words=["<unk>", "a", "b"], vectors=vectors, provenance={})
    return QueryStore(tmp_path / "q.h5")


MOMENTS = pd.DataFrame(
    [("q1", "long", 0.5, 1.0), ("q2", "mid", 0.0, 9.0), ("q3", "long", 2.0, 3.0), ("q4", "absent", 0.0, 1.0),
     ("q5", "one", 2.0, 2.0)],
    columns=["query_id", "video_id", "clamped_start_sec", "clamped_end_sec"],
).assign(split="train")  # fmt: skip


def test_rows_lie_end_to_end(store: MemoryStore) -> None:
    videos = load_videos(store, ["mid", "one", "long", "absent"], max_steps=6)
    assert videos.index == {"long": 0, "mid": 1, "one": 2}
    assert videos.counts.tolist() == [6, 4, 1]
    assert videos.offsets.tolist() == [0, 6, 10]
    assert videos.rows.shape == (12, 3)
    assert not videos.rows[-1].any()
    assert np.array_equal(videos.rows[6:10].numpy(), store.get("mid").features)
    start_sec, end_sec = videos.times(0)
    assert np.allclose(start_sec, np.arange(6) / 2)
    assert np.allclose(end_sec, np.arange(1, 7) / 2)
    assert load_videos(store, [], max_steps=6).counts.tolist() == []


def test_half_precision_unless_the_numbers_are_too_large(store: MemoryStore) -> None:
    assert load_videos(store, ["mid"], max_steps=6, dtype=torch.float16).rows.dtype == torch.float16
    store.videos["mid"] = video(4, scale=1e6)
    large = load_videos(store, ["mid"], max_steps=6, dtype=torch.float16)
    assert large.rows.dtype == torch.float32
    assert large.rows.isfinite().all()


def test_features_that_do_not_fit_go_to_a_file(store: MemoryStore, tmp_path: Path) -> None:
    inside = load_videos(store, ["mid", "long"], max_steps=6)
    outside = load_videos(store, ["mid", "long"], max_steps=6, memory_bytes=10, scratch=tmp_path)
    assert torch.equal(inside.rows, outside.rows)
    assert list(tmp_path.iterdir()) == []


def test_the_digest_tells_features_apart(store: MemoryStore) -> None:
    first = load_videos(store, ["mid"], max_steps=6).digest
    assert load_videos(store, ["mid"], max_steps=6).digest == first
    for numbers in (store.videos["mid"].end_sec, store.videos["mid"].start_sec, store.videos["mid"].features):
        numbers[-1] += 1e-6
        assert load_videos(store, ["mid"], max_steps=6).digest != first
        first = load_videos(store, ["mid"], max_steps=6).digest


def test_the_file_beside_the_memory_takes_its_space_before_it_is_written_to(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, take = [], os.posix_fallocate

    def counted(file: int, begin: int, size: int) -> None:
        taken.append((begin, size))
        take(file, begin, size)

    monkeypatch.setattr(os, "posix_fallocate", counted)
    rows = load_videos(store, ["mid", "long"], max_steps=6, memory_bytes=10, scratch=tmp_path / "new").rows
    # Piece after piece, up to the row of zeros at the end; not what longer videos would have needed.
    assert [begin for begin, _ in taken] == [0, *np.cumsum([size for _, size in taken])[:-1]]
    assert sum(size for _, size in taken) == rows.numel() * rows.element_size()
    assert not list((tmp_path / "new").iterdir())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ShardError, match=r"cannot be written .No space left on device.*Free some space"):
        load_videos(store, ["mid"], max_steps=6, memory_bytes=10, scratch=tmp_path)


def test_features_of_another_length_are_refused_by_name(store: MemoryStore) -> None:
    store.videos["bad"] = video(4, dim=2)
    with pytest.raises(FeatureError, match="video bad: expected steps of 3 numbers"):
        load_videos(store, ["bad"], max_steps=6)


def test_samples_have_labels_and_drop_empty_moments(store: MemoryStore, queries: QueryStore) -> None:
    videos = load_videos(store, store.videos, max_steps=6)
    samples = build_samples(MOMENTS, videos, queries, drop_empty=True)
    assert samples.query_ids == ["q1", "q2", "q3"]
    assert samples.dropped == ["q5"]
    assert samples.tokens.tolist() == [[1, 0, 2], [2, 0, 0], [1, 1, 0]]
    assert samples.word_counts.tolist() == [3, 1, 2]
    # "long" has six steps of half a second now; an end exactly at a step's start belongs to the step before.
    assert samples.labels.tolist() == [[1, 1], [0, 3], [4, 5]]
    assert samples.span_sec.tolist() == [[0.5, 1.0], [0.0, 9.0], [2.0, 3.0]]
    # Of 3 s, 4/3 s (the moment ends after the last step) and 3 s.
    assert samples.share.numpy() == pytest.approx(np.array([[1 / 6, 1 / 3], [0, 1], [2 / 3, 1]]))
    assert build_samples(MOMENTS, videos, queries, drop_empty=False).query_ids == ["q1", "q2", "q3", "q5"]
    with pytest.raises(QueryError, match="q9"):
        build_samples(MOMENTS.replace("q1", "q9"), videos, queries, drop_empty=True)


def test_batches_are_padded_with_zeros(store: MemoryStore, queries: QueryStore) -> None:
    videos = load_videos(store, store.videos, max_steps=6)
    samples = build_samples(MOMENTS, videos, queries, drop_empty=True)
    collator = Collator(videos, queries.vectors)
    batch = collator(samples, np.array([2, 1, 0]))
    assert batch.video.tolist() == [0, 1, 0]
    assert batch.step_counts.tolist() == [6, 4, 6]
    assert batch.features.shape == (2, 6, 3)
    assert np.array_equal(batch.features[1, :4].numpy(), store.get("mid").features)
    assert not batch.features[1, 4:].any()
    assert batch.words.tolist() == [[[1, 2], [1, 2], [0, 0]], [[3, 4], [0, 0], [0, 0]], [[1, 2], [0, 0], [3, 4]]]
    assert batch.unknown_mask.tolist() == [[False] * 3, [False] * 3, [False, True, False]]
    assert batch.word_counts.tolist() == [2, 1, 3]
    targets = collator.targets(samples, np.array([2, 1, 0]), batch)
    assert isinstance(targets, Targets)
    assert targets.labels.tolist() == [[4, 5], [0, 3], [1, 1]]
    assert targets.same_video.tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    assert targets.share.numpy() == pytest.approx(np.array([[2 / 3, 1], [0, 1], [1 / 6, 1 / 3]]))
    assert batch.tokens.tolist() == targets.tokens.tolist() == samples.tokens[[2, 1, 0]].tolist()
    weak = collator.targets(samples, np.array([2, 1, 0]), batch, supervision="pairs", negatives=2)
    assert {field.name for field in fields(weak)} == {"video", "step_counts", "tokens", "negatives"}
    assert weak.negatives.tolist()[0] == [1, 1] and sorted(weak.negatives.tolist()[1]) == [0, 2]
    alone = Collator(videos, queries.vectors)(samples, np.array([1]))
    assert alone.features.shape == (1, 4, 3)
    assert alone.words.shape == (1, 1, 2)


def test_training_batches_cover_all_and_group_by_length() -> None:
    counts = np.random.default_rng(0).integers(1, 100, size=1003)
    batches = training_batches(counts, batch_size=20, seed=3, epoch=1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1003))
    spread = [counts[batch].max() - counts[batch].min() for batch in batches]
    assert np.mean(spread) < 25  # Lengths count in units of 4; drawn at random, about 90.
    (short,) = [batch for batch in batches if len(batch) < 20]
    assert len(short) == 1003 % 20
    again = training_batches(counts, batch_size=20, seed=3, epoch=1)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    for other in (
        training_batches(counts, batch_size=20, seed=3, epoch=2),
        training_batches(counts, batch_size=20, seed=4, epoch=1),
    ):
        assert not np.array_equal(np.concatenate(batches), np.concatenate(other))


def test_the_short_batch_is_not_always_of_the_longest_or_shortest_videos() -> None:
    counts = np.arange(0, 4 * 70, 4)
    short = [
        min(training_batches(counts, batch_size=20, seed=0, epoch=epoch), key=len).tolist() for epoch in range(1, 41)
    ]
    assert {len(batch) for batch in short} == {10}
    assert {min(batch) for batch in short} == {0, 20, 40, 60}


def test_ordered_batches_cover_all() -> None:
    counts = np.array([3, 1, 2, 2, 9])
    assert [batch.tolist() for batch in ordered_batches(counts, batch_size=2)] == [[1, 2], [3, 0], [4]]


def test_negatives_are_of_other_videos_and_a_function_of_the_seed() -> None:
    video = np.array([3, 3, 5, 7, 5, 3])
    drawn = draw_negatives(video, count=3, seed=(1, 2, 3))
    assert (video[drawn] != video[:, None]).all()
    assert all(len(set(row)) == 3 for row in drawn.tolist())
    assert np.array_equal(drawn, draw_negatives(video, count=3, seed=(1, 2, 3)))
    assert any(not np.array_equal(drawn, draw_negatives(video, count=3, seed=(1, 2, n))) for n in range(4, 8))
    # A single video has none: its own numbers, which the mask leaves out.
    alone = torch.from_numpy(draw_negatives(np.array([4, 4]), count=2, seed=(0,)))
    targets = PairTargets(torch.tensor([4, 4]), torch.tensor([1, 1]), torch.ones(2, 1).long(), alone)
    assert not targets.negative_mask.any() and targets.same_video.all()
