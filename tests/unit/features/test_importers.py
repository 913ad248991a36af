import hashlib
import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner
from written import imported, write_features, write_first_seconds

from vmr.cli import app
from vmr.errors import FeatureError
from vmr.features.clips import plan_windows, step_seconds
from vmr.features.importers import step_times
from vmr.features.store import FeatureStore
from vmr.locate.extraction import Making, VideoFeaturizer
from vmr.pipeline.stages import STAGES
from vmr.storage.files import sha256_file


@pytest.fixture
def folder(tmp_path):
    """Moments of v_one (10 s), two (20 s) and three (30 s, in nobody's features)."""
    write_first_seconds(tmp_path / "moments.csv", train={"v_one": 10.0, "two": 20.0, "three": 30.0})
    (tmp_path / "npy").mkdir()
    return tmp_path


def run(folder, source, layout, **changed):
    return imported(folder, source, layout, **changed)[0]


def features(steps, dim=4):
    return np.arange(steps * dim, dtype=np.float32).reshape(steps, dim)


def test_a_folder_of_npy_files(folder):
    # 10 s at 24 fps and stride 8 are 30 steps; LGI's files have two more axes of one.
    np.save(folder / "npy" / "one.npy", features(30)[:, None, None, :])
    torch.save(torch.from_numpy(features(60)).requires_grad_(), folder / "npy" / "two.pt")
    with run(folder, folder / "npy", "npy_folder", kind="i3d_lgi") as store:
        assert store.video_ids == ["two", "v_one"] and store.dim == 4
        video = store.get("v_one")
        np.testing.assert_array_equal(video.features, features(30))
        np.testing.assert_allclose(video.start_sec, np.arange(30) / 3)
        assert video.end_sec[-1] == 10.0
        assert store.provenance["extractor"] == "i3d_lgi" and store.provenance["step_times"] == "stride / fps"
    rows = pd.read_csv(folder / "coverage.csv", keep_default_na=False).set_index("video_id")
    assert rows["status"].to_dict() == {"three": "missing", "two": "ok", "v_one": "ok"}


@pytest.mark.parametrize("shape", [(1, 30, 4), (1, 30, 4, 1, 1), (1, 1, 30, 4), (30, 4, 1), (30, 1, 4)])
def test_further_axes_of_length_one(folder, shape):
    np.save(folder / "npy" / "one.npy", features(30).reshape(shape))
    with run(folder, folder / "npy", "npy_folder") as store:
        np.testing.assert_array_equal(store.get("v_one").features, features(30))


@pytest.mark.parametrize("shape", [(2, 15, 4), (1, 2, 15, 4), (30, 2, 2), (120,), (1, 120, 1)])
def test_other_shapes_are_unusable(folder, shape):
    np.save(folder / "npy" / "one.npy", features(30).reshape(shape))
    with pytest.raises(FeatureError, match="1 of 1 videos found are unusable"):
        run(folder, folder / "npy", "npy_folder")


def test_the_content_of_a_folder_is_told_by_the_files_that_were_taken(folder):
    def digest():
        with run(folder, folder / "npy", "npy_folder") as store:
            return store.provenance["source_sha256"]

    np.save(folder / "npy" / "one.npy", features(30))
    np.save(folder / "npy" / "two.npy", features(60))
    first = digest()
    # By hand: name and SHA-256 of each file, in the order of the videos two and v_one.
    lines = [f"{name}\0{sha256_file(folder / 'npy' / name)}\n" for name in ("two.npy", "one.npy")]
    assert first == hashlib.sha256("".join(lines).encode()).hexdigest()
    np.save(folder / "npy" / "of_no_annotated_video.npy", features(3))
    assert digest() == first
    np.save(folder / "npy" / "two.npy", features(60) + 1)
    assert digest() != first
    np.save(folder / "npy" / "two.npy", features(60))
    (folder / "npy" / "one.npy").rename(folder / "npy" / "v_one.npy")
    assert digest() != first


def test_the_official_activitynet_file(folder):
    with h5py.File(folder / "c3d.hdf5", "w") as file:
        file["v_one/c3d_features"] = features(40, 500)
        file["v_two"] = features(80, 500)
    with run(folder, folder / "c3d.hdf5", "hdf5", fps=None, stride=None) as store:
        assert store.dim == 500
        # 40 steps spread over 10 s.
        np.testing.assert_allclose(store.get("v_one").start_sec[:3], [0.0, 0.25, 0.5])
        assert store.get("two").end_sec[-1] == 20.0
        assert len(store.provenance["source_sha256"]) == 64
        assert store.provenance["code_digest"] == "of importing"


def test_the_command_says_which_code_imported(folder):
    np.save(folder / "npy" / "one.npy", features(30))
    command = ["features", "import", folder / "npy", "--layout", "npy_folder", "--moments", folder / "moments.csv"]
    command += ["--fps", 24, "--stride", 8, "--output", folder / "out.h5", "--coverage", folder / "coverage.csv"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    with FeatureStore(folder / "out.h5") as store:
        assert store.provenance["code_digest"] == STAGES["import_features"].digest()


def test_half_precision_takes_half_the_space_and_is_read_as_single(folder):
    np.save(folder / "npy" / "one.npy", features(30).astype(np.float16))
    np.save(folder / "npy" / "two.npy", features(60).astype(np.float64))
    with run(folder, folder / "npy", "npy_folder") as store:
        assert store.get("v_one").features.dtype == np.float32
        np.testing.assert_array_equal(store.get("v_one").features, features(30))
    with h5py.File(folder / "out.h5") as file:
        assert file["features/v_one"].dtype == np.float16 and file["features/two"].dtype == np.float32


def test_counts_that_do_not_fit_the_duration_are_refused(folder):
    np.save(folder / "npy" / "one.npy", features(30))
    np.save(folder / "npy" / "two.npy", features(30))  # half of 20 s
    with run(folder, folder / "npy", "npy_folder") as store:
        assert store.video_ids == ["v_one"]
    reason = pd.read_csv(folder / "coverage.csv").set_index("video_id").loc["two", "reason"]
    assert reason == "30 steps of 0.333 s are 10.00 s, its duration is 20.00 s: expected about 60 steps"
    # With another stride than theirs nearly all are off: the import itself is refused and leaves no file.
    (folder / "out.h5").unlink()
    with pytest.raises(FeatureError, match=r"2 of 2 videos found are unusable.*Check fps, stride"):
        run(folder, folder / "npy", "npy_folder", stride=2.0)
    assert not (folder / "out.h5").exists()


def test_steps_of_whole_windows_lie_in_their_middle(folder):
    # 240 frames, windows of 64 every 8 that lie inside: (240 - 64) / 8 + 1 = 23 steps, 2.3 s short of 10 s.
    np.save(folder / "npy" / "one.npy", features(23))
    with pytest.raises(FeatureError, match="expected about 30 steps"):
        run(folder, folder / "npy", "npy_folder")
    with run(folder, folder / "npy", "npy_folder", window=64.0) as store:
        video = store.get("v_one")
        assert store.provenance["step_times"] == "stride / fps, in the middle of whole windows"
    # The middle 8 frames of the second window, 8 to 72, are 36 to 44; the first and last step own the video's ends.
    np.testing.assert_allclose(video.start_sec[:3], [0.0, 36 / 24, 44 / 24])
    np.testing.assert_allclose(video.end_sec[-2:], [(22 * 8 + 28) / 24, 10.0])
    # Padded at the ends there would be 30: taken for whole windows, all would lie 28 frames late.
    np.save(folder / "npy" / "two.npy", features(53))
    np.save(folder / "npy" / "one.npy", features(30))
    run(folder, folder / "npy", "npy_folder", window=64.0).close()
    reason = pd.read_csv(folder / "coverage.csv").set_index("video_id").loc["v_one", "reason"]
    assert reason == (
        "30 steps of 0.333 s and windows of 2.667 s are 12.33 s, its duration is 10.00 s: expected about 23 steps"
    )


@pytest.mark.parametrize("window", [None, 64.0])
@pytest.mark.parametrize("steps", range(20, 34))
def test_no_step_is_without_length(steps, window):
    """Of 10 s, steps of 1/3 s: 30 of them, or 23 in the middle of whole windows; a tenth more or less is allowed."""
    whole = 30 if window is None else 23
    if abs(steps - whole) > 3:
        with pytest.raises(FeatureError, match=f"expected about {whole} steps"):
            step_times(steps, duration=10.0, fps=24.0, stride=8.0, window=window)
        return
    start, end = step_times(steps, duration=10.0, fps=24.0, stride=8.0, window=window)
    assert (end - start).min() > 0.3 and end[-1] <= 10.0
    assert len(start) == (min(steps, 30) if window is None else steps)
    np.testing.assert_allclose(start[1:], end[:-1])


def test_steps_beyond_the_end_are_left_out_and_told(folder, caplog):
    np.save(folder / "npy" / "one.npy", features(33))
    np.save(folder / "npy" / "two.npy", features(60))
    with run(folder, folder / "npy", "npy_folder") as store:
        video = store.get("v_one")
    np.testing.assert_array_equal(video.features, features(33)[:30])
    assert video.start_sec[-1] == pytest.approx(29 / 3) and video.end_sec[-1] == 10.0
    rows = pd.read_csv(folder / "coverage.csv", keep_default_na=False).set_index("video_id")
    assert rows.loc["v_one", ["status", "reason", "steps"]].tolist() == [
        "ok", "3 of 33 steps lie beyond its end and were left out", 30,
    ]  # fmt: skip
    assert rows.loc["two", "reason"] == "" and "steps of 1 videos lie beyond their ends" in caplog.text


@pytest.mark.parametrize(("frames", "window", "stride"), [(240, 64, 8), (100, 16, 22), (97, 15, 4), (20, 64, 8)])
def test_seconds_of_whole_windows_are_those_of_our_own(frames, window, stride):
    plan = plan_windows(frames, window=window, stride=stride, padding="valid")
    expected = step_seconds(plan, fps=24.0, duration_sec=frames / 24, padding="valid")
    found = step_times(plan.steps, duration=frames / 24, fps=24.0, stride=float(stride), window=float(window))
    np.testing.assert_allclose(found, expected)
    # Nobody knows the duration: the video ends with the last window.
    start, end = step_times(plan.steps, duration=float("nan"), fps=24.0, stride=float(stride), window=float(window))
    np.testing.assert_allclose(start, expected[0])
    assert end[-1] == pytest.approx(plan.length / 24)


@pytest.mark.parametrize("name", ["nan", "objects", "text", "flat"])
def test_unusable_files_become_rows(folder, name):
    np.save(folder / "npy" / "two.npy", features(60))
    bad = folder / "npy" / "one.npy"
    if name == "text":
        bad.write_text("no array")
    else:
        value = {"nan": np.full((30, 4), np.nan), "objects": np.array([{}, 1]), "flat": np.zeros(30)}[name]
        np.save(bad, value, allow_pickle=True)
    with run(folder, folder / "npy", "npy_folder") as store:
        assert store.video_ids == ["two"]
    assert pd.read_csv(folder / "coverage.csv").set_index("video_id").loc["v_one", "status"] == "bad"


def test_errors(folder):
    with pytest.raises(FeatureError, match="no such folder"):
        run(folder, folder / "absent", "npy_folder")
    (folder / "a.h5").write_text("text")
    with pytest.raises(FeatureError, match=r"a\.h5: not a readable HDF5 file"):
        run(folder, folder / "a.h5", "hdf5")


def test_vectors_of_another_length_are_a_row_wherever_the_video_stands(folder):
    np.save(folder / "npy" / "one.npy", features(30))
    np.save(folder / "npy" / "two.npy", features(60))
    for odd, others in (("three", ["two", "v_one"]), ("two", ["three", "v_one"])):
        for name, count in (("three", 90), ("two", 60)):
            np.save(folder / "npy" / f"{name}.npy", features(count, 5 if name == odd else 4))
        with run(folder, folder / "npy", "npy_folder", max_failed_share=0.4) as store:
            assert store.video_ids == others and store.dim == 4
            store.check_contents()
            for video_id in others:
                assert store.get(video_id).features.shape[1] == 4
        row = pd.read_csv(folder / "coverage.csv").set_index("video_id").loc[odd]
        assert row[["status", "reason", "steps"]].tolist() == [
            "bad", "vectors of 5 numbers, those of 2 of 3 videos have 4", 0,
        ]  # fmt: skip
    with pytest.raises(FeatureError, match=r"1 of 3 videos found are unusable.*two: vectors of 5 numbers"):
        run(folder, folder / "npy", "npy_folder", max_failed_share=0.3)


MADE = {
    "extractor": "i3d",
    "mode": "windows",
    "fps": 24.0,
    "stride": 16,
    "weights": {"sha256": "ab"},
    "frames": {"fps": 24},
}


@pytest.fixture
def ours(folder):
    """A merged file of another machine, and the shard that it links to: 20 s of one video, and an odd step of 10 s."""
    starts = np.append(np.arange(0, 10, 2 / 3), 9.9)
    videos = {"v_one": (features(16), starts, np.append(starts[1:], 10.0)), "two": features(60)}
    (folder / "theirs" / "i3d").mkdir(parents=True)
    write_features(folder / "theirs" / "i3d" / "shard_0.h5", videos, **MADE)
    with h5py.File(folder / "theirs" / "i3d.h5", "w") as file:
        for name in ("features", "start_sec", "end_sec"):
            for video_id in videos:
                file[f"{name}/{video_id}"] = h5py.ExternalLink("i3d/shard_0.h5", f"{name}/{video_id}")
        file.attrs["provenance"] = json.dumps(MADE | {"dim": 4})
    return folder / "theirs" / "i3d.h5"


@pytest.mark.parametrize("stated", [{"fps": None, "stride": None}, {"fps": 24.0, "stride": 16.0}])
def test_features_of_ours_keep_their_seconds_and_what_made_them(folder, ours, stated):
    with run(folder, ours, "hdf5", kind="theirs", **stated) as store, FeatureStore(ours) as theirs:
        for video_id in ("v_one", "two"):
            for name in ("features", "start_sec", "end_sec"):
                expected = getattr(theirs.get(video_id), name)
                np.testing.assert_array_equal(getattr(store.get(video_id), name), expected)
        told = store.provenance
        assert {name: told[name] for name in theirs.provenance} == theirs.provenance
        assert told["imported"]["source"] == "i3d.h5" and told["imported"]["source_sha256"] == sha256_file(ours)
        assert VideoFeaturizer(Making(told, {}), folder=folder)  # and refuses no video, as for others' features
    shutil.rmtree(folder / "theirs")
    with FeatureStore(folder / "out.h5") as store:  # of its own
        assert store.get("two").features.shape == (60, 4)


def test_features_of_ours_that_do_not_fit_are_refused(folder, ours):
    with pytest.raises(FeatureError, match=r"i3d\.h5: says that it was made with stride 16, not 8\. Leave out"):
        run(folder, ours, "hdf5", fps=24.0, stride=8.0)
    whole = {"fps": None, "stride": None}
    write_first_seconds(folder / "moments.csv", train={"v_one": 14.0, "two": 20.0})
    run(folder, ours, "hdf5", **whole).close()
    row = pd.read_csv(folder / "coverage.csv").set_index("video_id").loc["v_one"]
    assert (row["status"], row["reason"]) == ("bad", "its 16 steps end at 10.00 s, its duration is 14.00 s")
    ours.with_suffix("").rename(folder / "elsewhere")
    with pytest.raises(FeatureError, match=r"lie in .*i3d/shard_0\.h5, which is missing or damaged\. Keep it beside"):
        run(folder, ours, "hdf5", **whole)


@pytest.mark.parametrize("link", ["../secret.h5", "/etc/secret.h5"])
def test_links_of_a_file_that_lead_elsewhere_are_not_followed(folder, ours, link):
    with h5py.File(ours, "a") as file:
        del file["features/two"]
        file["features/two"] = h5py.ExternalLink(link, "features/two")
    with pytest.raises(FeatureError, match=rf"links to {link}, which does not lie beside it"):
        run(folder, ours, "hdf5", fps=None, stride=None)
