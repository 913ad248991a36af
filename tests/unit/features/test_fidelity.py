import h5py
import numpy as np
import pytest
import torch
from extracting import extractor_of

from vmr.features.fidelity import compared_videos, cosine_to_exact_window
from vmr.features.i3d import I3dClips, fold_batch_norm
from vmr.features.inspect import features_info
from vmr.features.networks import Network
from vmr.features.store import FeatureStore, VideoFeatures, write_video
from vmr.video.frames import FrameInfo

FRAMES = np.random.default_rng(1).integers(0, 256, (90, 32, 32, 3), dtype=np.uint8)


class Store:
    """A frame store with one video."""

    def info(self, video_id):
        return FrameInfo(num_frames=len(FRAMES), width=32, height=32, fps=24.0, duration_sec=3.75, start_sec=0.0)

    def read(self, video_id, *, start=0, stop=None, chunk=64):
        yield from (FRAMES[i : min(i + 7, stop)].copy() for i in range(start, stop, 7))


@pytest.mark.parametrize("num_frames", [90, 40])  # the middle window lies inside; it hangs over both edges
def test_the_cosine_is_that_of_the_middle_window(fresh_i3d, num_frames, monkeypatch):
    monkeypatch.setitem(globals(), "FRAMES", FRAMES[:num_frames])
    network = Network(fold_batch_norm(fresh_i3d), I3dClips(), 1024, None, None, 32, {})
    extractor = extractor_of(network, mode="continuous")
    steps = -(-num_frames // 8)
    features = np.random.default_rng(2).random((steps, 1024), dtype=np.float32)
    seconds = np.arange(steps) / 3
    step, cosine = cosine_to_exact_window(extractor, Store(), "v", VideoFeatures(features, seconds, seconds + 1 / 3))

    # The window is centred on the 8 frames of its step: 28 frames before and after them, the ends repeated.
    middle = steps // 2
    seen = np.clip(np.arange(8 * middle - 28, 8 * middle + 36), 0, num_frames - 1)
    with torch.inference_mode():
        clip = torch.from_numpy(FRAMES[seen]).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        exact = network.module(clip)[0].numpy().astype(np.float64)
    expected = exact @ features[middle] / np.linalg.norm(exact) / np.linalg.norm(features[middle])
    assert step == middle and cosine == pytest.approx(expected, abs=1e-5)


def test_about_one_video_in_8_and_the_first_are_compared():
    ids = [f"v{i:04d}" for i in range(1600)]
    chosen = compared_videos(ids)
    assert 150 < len(chosen) < 250 and "v0000" in chosen
    # However a shard is cut, a video's own choice is the same.
    assert chosen - {"v0000"} <= compared_videos(ids[1:]) and compared_videos(["b", "a"]) >= {"a"}
    assert compared_videos([]) == set()


def test_the_file_keeps_it_and_info_prints_it(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(tmp_path / "part.h5", "w") as part, h5py.File(path, "w") as file:
        video = VideoFeatures(np.ones((2, 3), np.float32), np.array([0.0, 1.0]), np.array([1.0, 2.0]), (1, 0.95))
        write_video(part, video)
        for name in part:
            part.copy(part[name], file.require_group(name), name="a")
        file.attrs["provenance"] = '{"dim": 3}'
    with FeatureStore(path) as store:
        assert store.exact_cosines() == {"a": (1, 0.95)}
    assert "one pass against exact windows: cosine 0.9500 on average, 0.9500 at least (1 windows" in features_info(path)
