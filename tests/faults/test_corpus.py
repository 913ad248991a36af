"""One shard of good, damaged and impossible videos through the command line: every one ends as features or a reason."""

import re

import numpy as np
import pandas as pd
import pytest
from faults import corpus

from vmr.features.store import FeatureStore
from vmr.video.frames import FrameStore
from vmr.video.manifest import read_manifest

pytestmark = pytest.mark.xdist_group("corpus")  # one worker makes the shard


def arguments(folder, stage, **options):
    fixed = {
        "probe-videos": {
            "moments": folder / "moments.csv",
            "videos": folder / "videos",
            "output": folder / "videos.csv",
        },
        "decode-frames": {
            "manifest": folder / "videos.csv",
            "output": folder / "frames.h5",
            "decoded-manifest": folder / "frames.csv",
            "short-side": 64,
            "workers": 2,
        },
        "extract": {
            "frames": folder / "frames.h5",
            "manifest": folder / "frames.csv",
            "output": folder / "features.h5",
            "statuses": folder / "features.csv",
            "window": 16,
            "stride": 16,
        },
    }[stage]
    return [part for name, value in (fixed | options).items() for part in (f"--{name.replace('_', '-')}", value)]


@pytest.fixture(scope="module")
def shard(tmp_path_factory, annotate, vmr, weights):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "videos").mkdir()
    corpus.make_corpus(folder / "videos")
    annotate(folder / "videos")
    for stage, options in {
        "probe-videos": {},
        "decode-frames": {"max_failed_share": 0.95},
        "extract": {"max_failed_share": 0.0, "weights": weights},
    }.items():
        ran = vmr(stage, *arguments(folder, stage, **options))
        assert ran.exit_code == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def decoded(shard):
    return read_manifest([shard / "frames.csv"]).set_index("video_id")


@pytest.mark.slow
def test_every_video_has_features_or_a_reason(shard, decoded):
    names = {path.stem for path in (shard / "videos").iterdir()}
    assert set(decoded.index) == names and len(names) > 50
    statuses = pd.read_csv(shard / "features.csv", keep_default_na=False).set_index("video_id")
    with FeatureStore(shard / "features.h5") as store:
        for name in names:
            row = decoded.loc[name]
            if row["status"] == "ok":
                assert row["decoded_frames"] > 0 and statuses["status"][name] == "ok"
                features = store.get(name).features
                assert features.shape == (-(-row["decoded_frames"] // 16), 1024) and np.isfinite(features).all()
            else:
                assert row["status"] == "bad" and row["reason"], name
                assert (statuses["status"][name], statuses["reason"][name]) == ("bad", row["reason"])
                assert name not in store
        assert len(store.video_ids) == (decoded["status"] == "ok").sum()


@pytest.mark.slow
def test_what_is_sure_is_so(decoded):
    found = decoded.loc[list(corpus.GOOD)]
    assert found["decoded_frames"].to_dict() == corpus.GOOD
    for name, reason in corpus.BAD.items():
        assert decoded["status"][name] == "bad" and reason in decoded["reason"][name], decoded["reason"][name]


@pytest.mark.slow
def test_reasons_are_one_line_and_name_no_folder_of_ours(shard, decoded):
    for name, reason in decoded["reason"].items():
        assert "\n" not in reason and len(reason) < 700, name
        assert not re.search(r"@ 0x[0-9a-f]", reason), "an address differs from run to run"


@pytest.mark.slow
def test_what_is_left_of_truncated_videos_is_right(shard, decoded):
    left = [name for name in decoded.index if name.startswith("cut") and decoded["status"][name] == "ok"]
    assert left
    with FrameStore(shard / "frames.h5") as store:
        for name in left:
            numbers = corpus.clips.numbers_of(np.concatenate(list(store.read(name))))
            # A frame that refers to a lost one is lost too (one, with these encoders); the one before it stays.
            assert numbers[:-2] == list(range(len(numbers) - 2)), name
            assert numbers == sorted(numbers) and numbers[-1] < len(numbers), name


def test_too_many_bad_videos_are_one_clear_error(tmp_path, annotate, vmr):
    (tmp_path / "videos").mkdir()
    corpus.clips.render(tmp_path / "videos" / "good.mp4", *corpus.FAST, frames=2)
    for name in ("empty one", "empty two"):
        (tmp_path / "videos" / f"{name}.mp4").touch()
    annotate(tmp_path / "videos")
    assert vmr("probe-videos", *arguments(tmp_path, "probe-videos")).exit_code == 0
    refused = vmr("decode-frames", *arguments(tmp_path, "decode-frames", max_failed_share=0.66))
    assert refused.exit_code == 1 and isinstance(refused.exception, SystemExit)
    assert refused.stderr.count("error:") == 1
    assert "2 of 3 videos cannot be used; at most 66% may fail" in refused.stderr
    assert "empty one.mp4: the file is empty" in refused.stderr and "empty two.mp4" in refused.stderr
    assert not (tmp_path / "frames.h5").exists() and not (tmp_path / "frames.csv").exists()
    assert vmr("decode-frames", *arguments(tmp_path, "decode-frames", max_failed_share=0.67)).exit_code == 0
    assert (tmp_path / "frames.h5").exists()
