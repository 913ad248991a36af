import h5py
import numpy as np
import pytest
from written import write_features

from vmr.errors import FeatureError
from vmr.features.store import FeatureStore, VideoFeatures


def write_store(path, videos, **provenance):
    arrays = {video_id: np.full((steps, 3), steps, np.float32) for video_id, steps in videos.items()}
    write_features(path, arrays, **provenance)


def test_reading_back(tmp_path):
    write_store(tmp_path / "a.h5", {"b": 2, "007": 4}, extractor="i3d")
    with FeatureStore(tmp_path / "a.h5") as store:
        assert store.video_ids == ["007", "b"]
        assert "b" in store and "c" not in store
        assert store.dim == 3 and store.provenance["extractor"] == "i3d" and store.steps("007") == 4
        video = store.get("007")
    assert video.features.dtype == np.float32 and video.features.shape == (4, 3)
    np.testing.assert_allclose(video.end_sec, [1 / 3, 2 / 3, 1, 4 / 3])


def test_a_store_opens_late(tmp_path):
    store = FeatureStore(tmp_path / "later.h5")
    write_store(tmp_path / "later.h5", {"a": 1})
    assert store.get("a").features.shape == (1, 3)
    store.close()
    assert store.video_ids == ["a"]


def test_two_readers_at_once(tmp_path):
    write_store(tmp_path / "a.h5", {"a": 1})
    with FeatureStore(tmp_path / "a.h5") as first, FeatureStore(tmp_path / "a.h5") as second:
        assert first.video_ids == second.video_ids


def test_the_digest_is_that_of_the_content(tmp_path):
    write_store(tmp_path / "a.h5", {"a": 2, "b": 3})
    with FeatureStore(tmp_path / "a.h5") as store:
        digests = {name: store.get(name).digest for name in store.video_ids}
        assert store.get("a").digest == digests["a"] != digests["b"]
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["end_sec/a"][-1] += 1e-6
    assert FeatureStore(tmp_path / "a.h5").get("a").digest != digests["a"]


def test_errors_name_the_file_and_the_video(tmp_path):
    with pytest.raises(FeatureError, match=r"none\.h5: no such feature file"):
        _ = FeatureStore(tmp_path / "none.h5").video_ids
    (tmp_path / "text.h5").write_text("not hdf5")
    with pytest.raises(FeatureError, match=r"text\.h5: not a readable HDF5 file"):
        _ = FeatureStore(tmp_path / "text.h5").video_ids
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["video"] = [1]
    with pytest.raises(FeatureError, match=r"other\.h5: expected groups .* found video"):
        _ = FeatureStore(tmp_path / "other.h5").video_ids
    write_store(tmp_path / "a.h5", {"a": 1})
    with pytest.raises(FeatureError, match=r"a\.h5: no features for the video b among 1 videos"):
        FeatureStore(tmp_path / "a.h5").get("b")


def test_a_shard_without_videos_is_empty(tmp_path):
    write_store(tmp_path / "a.h5", {}, extractor="i3d")
    with FeatureStore(tmp_path / "a.h5") as store:
        assert store.video_ids == [] and "a" not in store


@pytest.mark.parametrize(
    ("features", "start", "end", "said"),
    [
        (np.array([[1.0, np.nan]]), [0.0], [1.0], "1 of 1 feature vectors hold NaN"),
        (np.array([[np.inf, 1.0]]), [0.0], [1.0], "NaN or infinity"),
        (np.zeros((2, 3)), [0.0], [1.0], "1 starts and 1 ends"),
        (np.zeros((0, 3)), [], [], "N >= 1"),
        (np.zeros(3), [0.0], [1.0], r"\(3,\)"),
        (np.zeros((1, 3)), [np.nan], [1.0], "seconds of the steps"),
        (np.zeros((2, 3)), [1.0, 0.0], [2.0, 1.0], "order of time"),
        (np.zeros((1, 3)), [1.0], [0.5], "order of time"),
        (np.zeros((2, 3)), [0.0, 0.0], [2.0, 1.0], "order of time"),
    ],
)
def test_unusable_values_are_refused(features, start, end, said):
    with pytest.raises(FeatureError, match=said):
        VideoFeatures(features.astype(np.float32), np.array(start), np.array(end))
