import threading
import time
from typing import ClassVar

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from extracting import extractor_of
from sectioned import sectioned
from torch import nn

from vmr.config.feature_sections import ExtractorSettings
from vmr.errors import DamageError, FeatureError, ShardError
from vmr.features import extract, pace, read_ahead
from vmr.features.extractors import Extractor
from vmr.features.i3d import I3dClips, fold_batch_norm
from vmr.features.networks import Network
from vmr.features.store import FeatureStore
from vmr.machine import use_log
from vmr.storage.shard import PartialShard
from vmr.video.frames import FrameInfo, FrameStore
from vmr.video.manifest import DECODED_COLUMNS, write_manifest

FPS = 24.0
LENGTHS = {"a": 20, "b": 53, "c": 1}


class Means(nn.Module):
    """Features known by hand: mean, minimum and maximum of a clip."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        self.calls += len(clips)
        flat = clips.flatten(1)
        return torch.stack([flat.mean(1), flat.amin(1), flat.amax(1)], dim=1)


class Bytes(nn.Module):
    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.float()


class FakeStore(FrameStore):
    """Frame i of a video is a picture of the grey i."""

    lengths = LENGTHS
    damaged: ClassVar[dict[str, Exception]] = {}
    provenance: ClassVar[dict[str, object]] = {"fps": FPS, "code_digest": "decoder", "frame_choice": "f"}

    def __init__(self, path) -> None:
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def check_contents(self):
        return None

    def check(self, video_id):
        return None

    @property
    def video_ids(self):
        return sorted(self.lengths)

    def info(self, video_id):
        count = self.lengths[video_id]
        return FrameInfo(num_frames=count, width=12, height=10, fps=FPS, duration_sec=count / FPS, start_sec=0.0)

    def read(self, video_id, *, start=0, stop=None, chunk=64):
        stop = min(stop or self.lengths[video_id], self.lengths[video_id])
        for begin in range(start, stop, chunk):
            if video_id in self.damaged and begin:
                raise self.damaged[video_id]
            grey = np.arange(begin, min(begin + chunk, stop), dtype=np.uint8)
            yield np.broadcast_to(grey[:, None, None, None], (len(grey), 10, 12, 3)).copy()


@pytest.fixture
def module(monkeypatch):
    """The shard's network and frame store are replaced; returns the network, which counts its windows."""
    module = Means()

    def build(name, settings, *, device):
        network = Network(module, Bytes(), 3, None, None, 8, {"weights": {"sha256": "0" * 64}})
        return Extractor(network, settings, name=name, device=torch.device("cpu"), dtype=torch.float32)

    monkeypatch.setattr(extract, "build_extractor", build)
    for reader in (extract, read_ahead):
        monkeypatch.setattr(reader, "FrameStore", FakeStore)
    monkeypatch.setattr(FakeStore, "damaged", {})
    return module


@pytest.fixture
def one_pass(module, monkeypatch, fresh_i3d):
    """Instead of that network I3D with random weights, in one pass over each video."""

    def build(name, settings, *, device):
        network = Network(fold_batch_norm(fresh_i3d), I3dClips(), 1024, None, None, 32, {})
        return extractor_of(network, name=name, window=settings.window, stride=settings.stride, mode="continuous")

    monkeypatch.setattr(extract, "build_extractor", build)


def write_rows(path, **changed):
    """The manifest; `changed` are further cells of a video's row."""
    rows = [{"video_id": video_id, "status": "ok", "decoded_frames": count} for video_id, count in LENGTHS.items()]
    rows += [
        {"video_id": "gone", "status": "missing", "reason": "no file"},
        {"video_id": "broken", "status": "bad", "reason": "no video stream"},
    ]
    blank = dict.fromkeys(DECODED_COLUMNS, "")
    rows = [blank | row | changed.get(row["video_id"], {}) for row in rows]
    write_manifest(rows, path, columns=DECODED_COLUMNS)


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "decoded.csv"
    write_rows(path)
    return path


def run(manifest, **changed):
    folder = manifest.parent
    arguments = {
        "frames": folder / "frames.h5",
        "manifest": manifest,
        "output": folder / "features.h5",
        "statuses": folder / "statuses.csv",
        "extractor": "slow_r50",
        "weights": "./w",
        "window": 8,
        "stride": 4,
        "code_digest": "abc",
    } | changed
    extract.extract_shard(**sectioned(ExtractorSettings, arguments))
    return FeatureStore(folder / "features.h5")


def statuses(manifest):
    rows = pd.read_csv(manifest.parent / "statuses.csv", keep_default_na=False)
    assert list(rows.columns) == ["video_id", "status", "reason"]
    return {row.video_id: (row.status, row.reason) for row in rows.itertuples()}


def test_a_card_is_claimed_before_the_network_is_built(module, manifest, monkeypatch):
    asked, built, build = [], [], extract.build_extractor
    monkeypatch.setattr(extract, "claim_device", lambda name: asked.append(name) or torch.device("cuda:1"))
    monkeypatch.setattr(extract, "build_extractor", lambda *a, device: built.append(device) or build(*a, device=device))
    run(manifest, device="cuda")
    assert asked == ["cuda"] and built == [torch.device("cuda:1")]


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_features_and_seconds_are_those_of_the_definition(module, manifest, batch_size):
    with run(manifest, batch_size=batch_size) as store:
        assert store.video_ids == ["a", "b", "c"]
        for video_id, count in LENGTHS.items():
            video = store.get(video_id)
            steps = -(-count // 4)
            seen = [np.clip(np.arange(4 * k - 2, 4 * k + 6), 0, count - 1) for k in range(steps)]
            expected = [[frames.mean(), frames.min(), frames.max()] for frames in seen]
            np.testing.assert_allclose(video.features, expected, rtol=1e-6)
            np.testing.assert_allclose(video.start_sec, np.arange(steps) * 4 / FPS)
            assert video.end_sec[-1] == pytest.approx(count / FPS)
    assert statuses(manifest) == {
        "a": ("ok", ""),
        "b": ("ok", ""),
        "c": ("ok", ""),
        "gone": ("missing", "no file"),
        "broken": ("bad", "no video stream"),
    }
    assert not (manifest.parent / "features.h5.parts").exists()


def test_whole_windows_own_the_middle_of_what_they_see(module, manifest):
    with run(manifest, padding="valid") as store:
        video = store.get("b")
    # 53 frames, windows of 8 every 4: 12 of them, which own the frames 2 to 6 of their 8.
    assert video.features[3].tolist() == [15.5, 12.0, 19.0]
    np.testing.assert_allclose(video.start_sec, [0.0, *(np.arange(6, 50, 4) / FPS)])
    np.testing.assert_allclose(video.end_sec, [*(np.arange(6, 50, 4) / FPS), 53 / FPS])


def test_provenance_tells_what_made_the_features(module, manifest):
    with run(manifest) as store:
        provenance = store.provenance
    assert {
        "extractor": "slow_r50",
        "window": 8,
        "stride": 4,
        "mode": "windows",
        "padding": "edge",
        "fps": FPS,
        "device": "cpu",
        "dtype": "float32",
        "dim": 3,
        "pca": None,
        "code_digest": "abc",
        "weights": {"sha256": "0" * 64},
    }.items() <= provenance.items()
    assert provenance["frames"]["code_digest"] == "decoder"
    assert {"torch", "python"} <= set(provenance["versions"])
    assert provenance["frame_choice"] == "f"


def test_a_failing_video_is_a_row(module, manifest, monkeypatch):
    monkeypatch.setattr(FakeStore, "damaged", {"b": ShardError("its stream is damaged")})
    with run(manifest) as store:
        assert store.video_ids == ["a", "c"]
    assert statuses(manifest)["b"] == ("bad", "its stream is damaged")


def test_frames_that_end_early_are_a_row(module, manifest, monkeypatch):
    monkeypatch.setattr(FakeStore, "info", lambda self, video_id: FrameInfo(60, 12, 10, FPS, 2.5, 0.0))
    with pytest.raises(FeatureError, match="gave 20 frames, its index says 60"):
        run(manifest)


def test_features_that_are_not_numbers_are_refused(module, manifest, monkeypatch):
    def forward(clips):
        features = Means.forward(module, clips)
        return torch.where(features[:, 2:] == 52, torch.nan, features)  # only b reaches frame 52

    monkeypatch.setattr(module, "forward", forward)
    with run(manifest) as store:
        assert store.video_ids == ["a", "c"]
    status, reason = statuses(manifest)["b"]
    assert status == "bad" and "feature vectors hold NaN" in reason


def test_too_many_failures_stop_the_shard_and_keep_what_is_done(module, manifest, monkeypatch):
    monkeypatch.setattr(FakeStore, "damaged", {"b": OSError("read error")})
    with pytest.raises(FeatureError, match=r"1 of 3 decoded videos failed.*max_failed_share = 0\.2.*b: read error"):
        run(manifest, max_failed_share=0.2)
    assert not (manifest.parent / "features.h5").exists()
    monkeypatch.setattr(FakeStore, "damaged", {})
    before = module.calls
    run(manifest, max_failed_share=0.2).close()
    assert module.calls - before == 14  # only b, of 53 frames, is done again
    assert statuses(manifest)["b"] == ("ok", "")


def test_a_video_lacking_in_the_store_is_a_row(module, manifest, monkeypatch):
    monkeypatch.setattr(FakeStore, "lengths", {"a": 20, "b": 53})
    run(manifest).close()
    assert statuses(manifest)["c"][0] == "bad"


def test_interrupted_and_resumed_gives_the_same_bytes(module, manifest, monkeypatch):
    with run(manifest) as store:
        undisturbed = {video_id: store.get(video_id) for video_id in store.video_ids}
    for name in ("features.h5", "features.h5.kept"):
        (manifest.parent / name).unlink()
    calls = module.calls
    forward = module.forward

    def dies(clips):
        if module.calls >= 2 * calls - 3:
            raise KeyboardInterrupt
        return forward(clips)

    monkeypatch.setattr(module, "forward", dies)
    with pytest.raises(KeyboardInterrupt):
        run(manifest, batch_size=1)
    assert not (manifest.parent / "features.h5").exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "frame-reader"]
    monkeypatch.setattr(module, "forward", forward)
    before = module.calls
    with run(manifest) as store:
        for video_id, video in undisturbed.items():
            np.testing.assert_array_equal(store.get(video_id).features, video.features)
    assert module.calls - before < calls  # a was not extracted again


def test_other_settings_start_anew(module, manifest, monkeypatch):
    monkeypatch.setattr(FakeStore, "damaged", {"b": OSError("read error")})
    with pytest.raises(FeatureError):
        run(manifest, max_failed_share=0.0)
    before = module.calls
    monkeypatch.setattr(FakeStore, "damaged", {})
    run(manifest, code_digest="other").close()
    assert module.calls - before == 5 + 14 + 1


def test_a_fault_of_ours_is_not_blamed_on_the_video(module, manifest, monkeypatch):
    monkeypatch.setattr(FakeStore, "damaged", {"b": ZeroDivisionError("bug")})
    with pytest.raises(ZeroDivisionError):
        run(manifest)


def test_an_altered_frame_store_stops_the_shard(module, manifest, monkeypatch):
    """It is no fault of the video: as a row, it would be missing from the results."""
    monkeypatch.setattr(FakeStore, "damaged", {"b": DamageError("the frames of b are not what was written")})
    with pytest.raises(DamageError, match="the frames of b"):
        run(manifest)


def hidden(file):
    file.move("videos/a", "videos/A")


def without_facts(file):
    del file["videos/a"].attrs["height"]


def without_frames(file):
    file["videos/a"].attrs["num_frames"] = 0  # no window could be laid over it


def without_stream(file):
    del file["videos/a/stream"]


@pytest.mark.parametrize("damage", [hidden, without_facts, without_frames, without_stream])
def test_a_frame_store_that_lost_something_stops_the_shard(module, manifest, monkeypatch, damage):
    """Whatever h5py or a plan makes of it: no video becomes a row for what the frame store lost."""
    for reader in (extract, read_ahead):
        monkeypatch.setattr(reader, "FrameStore", FrameStore)
    path = manifest.parent / "frames.h5"
    with PartialShard(path, settings={}) as shard:
        for video_id, count in LENGTHS.items():

            def write(part, count=count):
                part["videos/stream"], part["videos/group_offsets"] = np.zeros(9, np.uint8), [0]
                part["videos"].attrs.update(vars(FrameInfo(count, 12, 10, FPS, count / FPS, 0.0)))

            shard.add(video_id, fingerprint="", row={}, write=write)
        shard.finish(LENGTHS, attributes={"provenance": {"fps": FPS}})
        shard.clear()
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(DamageError, match=r"frames\.h5: .*vmr verify"):
        run(manifest, max_failed_share=1.0)
    assert not (manifest.parent / "features.h5").exists() and not (manifest.parent / "statuses.csv").exists()


def test_a_frame_store_altered_since_stops_the_comparison_too(one_pass, manifest, monkeypatch):
    read = FakeStore.read

    def damaged(self, video_id, *, start=0, stop=None, **options):
        if stop is not None:  # one window of a video
            raise DamageError(f"the frames of {video_id} are not what was written")
        return read(self, video_id, start=start, stop=stop, **options)

    monkeypatch.setattr(FakeStore, "read", damaged)
    with pytest.raises(DamageError, match="the frames of a"):
        run(manifest, window=16, stride=8)


def test_one_pass_over_videos_shorter_than_a_stride(one_pass, manifest):
    with run(manifest, window=64, stride=128) as store:
        # 20 frames are one step, whose window begins at frame 32: it sees the last frame 64 times.
        assert store.video_ids == ["a", "b", "c"] and store.steps("a") == 1
        assert store.exact_cosines()["a"][0] == 0


def test_an_empty_shard_is_a_file_without_videos(module, manifest):
    blank = dict.fromkeys(DECODED_COLUMNS, "")
    write_manifest(
        [blank | {"video_id": "gone", "status": "missing", "reason": "no file"}], manifest, columns=DECODED_COLUMNS
    )
    with run(manifest) as store:
        assert store.video_ids == [] and store.provenance["dim"] == 3


def test_what_snakemake_deleted_comes_back_without_the_network(module, manifest):
    run(manifest).close()
    written = [(manifest.parent / name).read_bytes() for name in ("features.h5", "statuses.csv")]
    failed, calls = "broken" in statuses(manifest), module.calls
    for name in ("features.h5", "statuses.csv"):
        (manifest.parent / name).unlink()
    run(manifest).close()
    assert failed and module.calls == calls
    assert [(manifest.parent / name).read_bytes() for name in ("features.h5", "statuses.csv")] == written


def test_a_video_whose_row_changed_is_done_again(module, manifest):
    run(manifest).close()
    calls = module.calls
    write_rows(manifest, b={"mtime_ns": 7}, a={"path": "moved/a.mp4"})
    run(manifest).close()
    assert module.calls - calls == 14  # b, of 53 frames; where a lies says nothing of its frames


def test_a_job_that_was_moved_to_another_card_goes_on(module, manifest, monkeypatch):
    run(manifest).close()
    calls = module.calls
    (manifest.parent / "features.h5").unlink()
    describe = Extractor.describe
    monkeypatch.setattr(Extractor, "describe", lambda self: describe(self) | {"device_name": "another card"})
    with run(manifest) as store:
        assert len(store.video_ids) == 3
    assert module.calls == calls
    monkeypatch.setattr(Extractor, "describe", lambda self: describe(self) | {"dtype": "bfloat16"})
    run(manifest).close()
    assert module.calls == 2 * calls


def test_the_file_is_the_documented_one(module, manifest):
    run(manifest).close()
    with h5py.File(manifest.parent / "features.h5") as file:
        assert sorted(file) == ["end_sec", "features", "rows", "start_sec"]
        assert file["features/b"].dtype == np.float32 and file["features/b"].shape == (14, 3)
        assert file["start_sec/b"].dtype == np.float64


def test_bytes_become_minus_one_to_one():
    clips = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1, 1)
    assert I3dClips()(clips).flatten().tolist() == pytest.approx([-1.0, -0.6, 1.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 256, 1, 1).expand(1, 3, 256, 1, 1)
        ready = I3dClips()(every)
    exact = torch.arange(256) / 127.5 - 1
    # One rounding only: the nearest bfloat16 of the exact value.
    assert torch.equal(ready[0, 0].flatten(), exact.to(torch.bfloat16))


@pytest.mark.parametrize(
    ("reading_sec", "least", "most", "held_up"), [(0, 80, 100, None), (100, 1, 30, "reading frames cannot keep up")]
)
def test_a_starved_network_is_told_of(module, manifest, monkeypatch, caplog, reading_sec, least, most, held_up):
    """By a clock that only work moves: ten seconds a call of the network, and so many a video that is read."""
    now = [0.0]

    def after(seconds, function):
        def late(*arguments, **options):
            if seconds > 10:
                time.sleep(0.1)  # until the network, in another thread, waits: what it waits by this clock counts
            now[0] += seconds
            return function(*arguments, **options)

        return late

    monkeypatch.setattr(pace.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(pace, "_TRIAL_SHARE", 1.0)
    monkeypatch.setattr(module, "forward", after(10, module.forward))
    monkeypatch.setattr(FakeStore, "read", after(reading_sec, FakeStore.read))
    with caplog.at_level("INFO"):
        run(manifest, batch_size=2)
    share, _, told = use_log.share_told(caplog.text)
    assert least <= 100 * share <= most and (held_up in told if held_up else not told)


def test_a_small_shard_is_not_measured(module, manifest, caplog):
    with caplog.at_level("INFO"):
        run(manifest)
    assert module.calls == sum(len(range(0, count, 4)) for count in LENGTHS.values())
    assert use_log.share_told(caplog.text) is None


@pytest.mark.parametrize(("mode", "stride"), [("continuous", 8), ("windows", 8), ("windows", 64)])
def test_every_way_of_i3d_is_tried_alone(fresh_i3d, monkeypatch, mode, stride):
    monkeypatch.setattr(pace, "_TRIAL_SEC", 0.0)
    network = Network(fold_batch_norm(fresh_i3d), I3dClips(), 1024, None, None, 32, {})
    extractor = extractor_of(network, mode=mode, stride=stride, batch_size=1)
    seen = []
    monkeypatch.setattr(
        extractor, "pieces", lambda frames, plan: seen.extend(frames) or Extractor.pieces(extractor, frames, plan)
    )
    assert pace._frames_per_sec_alone(extractor, [128] * 100) > 0
    # One pass leaves out frames that are repeated: a still picture would make the network look several times as fast.
    assert (seen[0][1:] != seen[0][:-1]).any(axis=(1, 2, 3)).all()
    assert pace._frames_per_sec_alone(extractor, [20] * 99) is None  # two passes would be more than a fiftieth
