import json
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner
from written import imported, write_features, write_first_seconds

from vmr.cli import app
from vmr.errors import DamageError, FeatureError
from vmr.features.inspect import features_diff, features_info
from vmr.features.store import VideoFeatures, write_video
from vmr.storage.shard import PartialShard


def write(path, videos):
    arrays = {video_id: np.array(features, np.float32) for video_id, features in videos.items()}
    write_features(path, arrays, extractor="i3d", frames={"fps": 24.0})


def test_info_says_what_is_there_and_what_made_it(tmp_path):
    write(tmp_path / "a.h5", {name: [[1, 0]] * 4 for name in "abcd"})
    text = features_info(tmp_path / "a.h5")
    assert "4 videos, 16 steps of 2 numbers" in text
    assert "a: 4 steps, 0 to 1.33 s" in text and "and 1 more" in text
    assert "extractor: i3d" in text and '"fps": 24.0' in text
    with pytest.raises(FeatureError, match="no such feature file"):
        features_info(tmp_path / "b.h5")


def test_files_of_another_kind_are_told(tmp_path):
    """Frame stores and query stores have a provenance, too."""
    write(tmp_path / "a.h5", {"a": [[1, 0]]})
    for name, group, told in (("frames", "videos", {"fps": 24.0}), ("queries", "words", {"dim": 50})):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.attrs["provenance"] = json.dumps(told)
            file.create_group(group)
        said = rf"{name}\.h5: expected groups features.*found {group}, and the provenance of something else"
        with pytest.raises(FeatureError, match=said):
            features_info(tmp_path / f"{name}.h5")
        with pytest.raises(FeatureError, match=said):
            features_diff(tmp_path / f"{name}.h5", tmp_path / f"{name}.h5")


@pytest.mark.parametrize(
    ("provenance", "said"),
    [
        ('{"dim": 2', "its list of videos cannot be read|its provenance cannot be read"),
        ("[1, 2]", "its provenance cannot be read"),
        ('{"extractor": "i3d"}', "dim in its provenance, cannot be read"),
    ],
)
def test_a_provenance_that_was_altered_is_damage(tmp_path, provenance, said):
    write(tmp_path / "a.h5", {"a": [[1, 0]]})
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["provenance"] = provenance
    with pytest.raises(DamageError, match=rf"a\.h5: .*({said})"):
        features_info(tmp_path / "a.h5")


# Alters some bytes of a feature file, reads it in every way, and says which seed it is at; anything but an error of
# ours ends it with a traceback.
_READ_ALTERED = """
import random, sys
from pathlib import Path
from vmr.errors import VmrError
from vmr.features.inspect import features_diff, features_info
from vmr.features.store import FeatureStore

def read_all(path):
    with FeatureStore(path) as store:
        store.check_contents()
        store.exact_cosines()
        for video_id in store.video_ids:
            store.get(video_id), store.steps(video_id)

good = Path(sys.argv[1])
raw, path, refused = good.read_bytes(), good.with_name("altered.h5"), 0
for seed in range(int(sys.argv[2]), int(sys.argv[3])):
    print(seed, flush=True)
    numbers, altered = random.Random(seed), bytearray(raw)
    for _ in range(numbers.randint(1, 4)):
        altered[numbers.randrange(len(raw))] = numbers.randrange(256)
    path.write_bytes(altered)
    for read in (features_info, lambda path: features_diff(good, path), read_all):
        try:
            read(path)
        except VmrError as error:
            assert "altered.h5" in str(error), error
            refused += 1
print("refused", refused)
"""


def test_altered_bytes_are_errors_of_ours_whatever_they_hit(tmp_path):
    video = VideoFeatures(np.ones((4, 3), np.float32), np.arange(4.0), np.arange(4.0) + 1, exact_cosine=(1, 0.5))
    with PartialShard(tmp_path / "good.h5", settings={}) as shard:
        for name in "abc":
            shard.add(name, fingerprint="", row={}, write=lambda file: write_video(file, video))
        shard.finish("abc", attributes={"provenance": {"dim": 3, "extractor": "i3d"}})
        shard.clear()
    first, last = 0, 100
    for _ in range(3):  # libhdf5 2.0 crashes over one file in about 500
        command = [sys.executable, "-c", _READ_ALTERED, tmp_path / "good.h5", str(first), str(last)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode >= 0:
            break
        first = int(done.stdout.split()[-1]) + 1
    assert done.returncode == 0, [*done.stdout.split()[-1:], done.stderr]
    assert int(done.stdout.split()[-1]) > 30  # of 300 readings; the other bytes lie in padding and unused space


def test_diff_shows_where_two_files_part(tmp_path):
    write(
        tmp_path / "a.h5",
        {"same": [[1, 2], [3, 4]], "turned": [[1, 0], [1, 0]], "longer": [[0, 1]] * 3, "left": [[1, 1]]},
    )
    write(
        tmp_path / "b.h5",
        {"same": [[2, 4], [3, 4]], "turned": [[1, 0], [0, 1]], "longer": [[0, 1]] * 2, "zero": [[0, 0]]},
    )
    table = features_diff(tmp_path / "a.h5", tmp_path / "b.h5").set_index("video_id")
    assert table.loc["same", ["cosine_mean", "cosine_min"]].tolist() == pytest.approx([1.0, 1.0])
    # Second step at a right angle: mean (1 + 0) / 2.
    assert table.loc["turned", ["cosine_mean", "cosine_min"]].tolist() == [0.5, 0.0]
    assert table.loc["longer", ["steps_a", "steps_b", "seconds_a", "seconds_b"]].tolist() == [3, 2, 1.0, 2 / 3]
    assert pd.isna(table.loc["left", "steps_b"]) and pd.isna(table.loc["zero", "cosine_mean"])


@pytest.mark.parametrize("layout", ["npy_folder", "hdf5"])
def test_features_that_are_handed_out_are_read_by_anyone_and_taken_in_again(tmp_path, layout):
    videos = {"one": np.arange(120, dtype=np.float32).reshape(30, 4), "v_two": np.ones((60, 4), np.float32)}
    write_features(tmp_path / "shard.h5", videos, extractor="i3d", fps=24.0, stride=8)
    with h5py.File(tmp_path / "a.h5", "w") as file:  # a merged file
        for name in ("features", "start_sec", "end_sec"):
            for video_id in videos:
                file[f"{name}/{video_id}"] = h5py.ExternalLink("shard.h5", f"{name}/{video_id}")
        file.attrs["provenance"] = json.dumps({"extractor": "i3d", "dim": 4, "fps": 24.0, "stride": 8})
    output = tmp_path / "given" / "i3d"
    command = ["features", "export", str(tmp_path / "a.h5"), "--layout", layout, "--output", str(output)]
    told = CliRunner().invoke(app, command)
    assert told.stdout == f"{output}: 2 videos, steps of 4 numbers, every 8 of 24 frames a second\n"
    if layout == "hdf5":
        with h5py.File(output) as file:
            found = {name: file[name][()] for name in file}
            assert json.loads(file.attrs["provenance"])["extractor"] == "i3d"
    else:
        found = {path.stem: np.load(path) for path in output.glob("*.npy")}
        assert json.loads((output / "provenance.json").read_text())["extractor"] == "i3d"
        again = CliRunner().invoke(app, command)
        assert again.exit_code and "expected a folder that is new or empty" in again.output
    assert set(found) == set(videos)
    for name, array in videos.items():
        np.testing.assert_array_equal(found[name], array)
    write_first_seconds(tmp_path / "moments.csv", train={"one": 10.0, "v_two": 20.0})
    store, coverage = imported(tmp_path, output, layout)
    assert (coverage["status"] == "ok").all()
    np.testing.assert_array_equal(store.get("one").features, videos["one"])
