import errno
import json
import os
import signal
from functools import partial
from pathlib import Path

import crashing
import h5py
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner
from written import write_first_seconds

from vmr.cli import app
from vmr.config.feature_sections import ReductionSettings
from vmr.features.merge import merge_features
from vmr.features.store import GROUPS, VideoFeatures, write_video
from vmr.storage.shard import PartialShard
from vmr.storage.verify import Checked, check_file


@pytest.fixture
def work(tmp_path, monkeypatch):
    """`work/demo` with two shards of features, merged, and a part of a third; the working directory is its parent."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "work" / "demo"
    video = VideoFeatures(np.ones((4, 3), np.float32), np.arange(4.0), np.arange(4.0) + 1)
    shards = [folder / "features" / "i3d" / f"shard_{number}.h5" for number in range(2)]
    for number, path in enumerate(shards):
        shard = PartialShard(path, settings={})
        for name in (f"a{number}", f"b{number}"):
            shard.add(name, fingerprint="", row={}, write=lambda file: write_video(file, video))
        shard.finish([f"a{number}", f"b{number}"], attributes={"provenance": {"dim": 3}})
        shard.clear()
        status = pd.DataFrame({"video_id": [f"a{number}", f"b{number}"], "status": "ok", "reason": ""})
        status.to_csv(path.with_suffix(".csv"), index=False)
    write_first_seconds(folder / "moments.csv", train={"a0": 4.0})
    merge_features(
        shards=shards,
        statuses=[path.with_suffix(".csv") for path in shards],
        output=folder / "features" / "i3d.h5",
        coverage=folder / "features" / "i3d_coverage.csv",
        moments=folder / "moments.csv",
        reduction=ReductionSettings(),
        train_split="train",
        code_digest="",
    )
    parts = folder / "features" / "i3d" / "shard_2.h5.parts"
    parts.mkdir()
    (parts / "half.h5").write_bytes(b"being written")
    return folder


def verify(*options):
    result = CliRunner().invoke(app, ["verify", "demo", *options])
    return result.exit_code, result.output


def test_files_as_they_were_written(work):
    assert verify() == (0, "3 files of 0.00 GB: nothing is damaged.\n")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[raw.index(np.ones(12, np.float32).tobytes())] ^= 1
    path.write_bytes(raw)


def overwrite(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["start_sec/a1"][0] = 0.5


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "not readable: "),
        (empty, "not readable: "),
        (flip, "not as written: features/a1"),
        (overwrite, "not as written: start_sec/a1"),
    ],
)
def test_a_damaged_shard_goes_with_the_file_that_links_to_it(work, damage, said):
    damage(work / "features" / "i3d" / "shard_1.h5")
    code, text = verify()
    assert code == 1
    assert f"work/demo/features/i3d/shard_1.h5: {said}" in text
    assert "work/demo/features/i3d.h5: links to shard_1.h5, which is damaged or missing" in text
    assert "2 damaged. Remove them with --delete" in text
    assert verify("--delete")[0] == 0
    assert sorted(path.name for path in work.rglob("*.h5") if path.parent.suffix != ".parts") == ["shard_0.h5"]
    assert verify()[0] == 0


def test_any_single_altered_byte_does_no_harm_or_is_found(work):
    """Wherever it lies: what is read is as it was written, or the file counts as damaged."""
    path = work / "features" / "i3d" / "shard_1.h5"
    raw = path.read_bytes()

    def content():
        with h5py.File(path) as file:
            return {f"{g}/{v}": file[g][v][()].tobytes() for g in GROUPS for v in file[g]}, dict(file.attrs)

    good = content()
    harmless = 0
    for offset in range(0, len(raw), 37):
        path.write_bytes(raw[:offset] + bytes([raw[offset] ^ 0x41]) + raw[offset + 1 :])
        if check_file(path).damage is None:
            assert content() == good, offset
            harmless += 1
    assert harmless < len(raw) / 37  # padding and unused space, mostly


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_file_over_which_the_library_crashes_is_damaged_and_the_others_are_read(work, monkeypatch, number):
    monkeypatch.setattr("vmr.storage.verify.check_file", crashing.At("shard_0.h5", number))
    flip(work / "features" / "i3d" / "shard_1.h5")
    code, text = verify()
    assert code == 1
    assert f"i3d/shard_0.h5: not readable: reading it ends the process ({number.name})" in text
    assert "i3d/shard_1.h5: not as written: features/a1" in text and "3 files of 0.00 GB: 3 damaged" in text


def test_a_reader_that_was_ended_from_outside_says_nothing_of_the_file(work, monkeypatch):
    """As the kernel does when memory is short: with --delete the file would be lost."""
    monkeypatch.setattr("vmr.storage.verify.check_file", crashing.At("shard_0.h5", signal.SIGKILL))
    code, text = verify("--delete")
    assert code == 1 and "shard_0.h5: the process that read it was ended from outside" in text
    assert len(list(work.rglob("shard_?.h5"))) == 2


def test_objects_of_another_kind_are_damage(work):
    """An altered byte makes a type of a dataset, which has no shape."""
    path = work / "features" / "i3d" / "shard_1.h5"
    with h5py.File(path, "r+") as file:
        for name in ("features/a1", "rows"):
            checksum = file[name].attrs["sha256"]
            del file[name]
            file[name] = np.dtype("f4")
            file[name].attrs["sha256"] = checksum
    code, text = verify()
    assert code == 1 and "shard_1.h5: not as written: " in text


def test_folders_on_another_disk_are_read_too_and_links_to_nothing_are_told(work, tmp_path):
    elsewhere = tmp_path / "scratch"
    (work / "features" / "i3d").rename(elsewhere)
    (work / "features" / "i3d").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(work)
    assert verify() == (0, "3 files of 0.00 GB: nothing is damaged.\n")
    flip(elsewhere / "shard_1.h5")
    (work / "lost.h5").symlink_to(tmp_path / "nowhere.h5")
    code, text = verify()
    assert code == 1 and "work/demo/features/i3d/shard_1.h5: not as written: features/a1" in text
    assert "work/demo/lost.h5: not readable: " in text


def test_files_of_earlier_versions_are_told_apart(work):
    with h5py.File(work / "old.h5", "w") as file:
        file.attrs["provenance"] = json.dumps({})
    code, text = verify()
    assert code == 0 and "1 files have no checksums and were only opened: work/demo/old.h5" in text


def test_a_folder_that_is_not_there(work):
    result = CliRunner().invoke(app, ["verify", "charades"])
    assert result.exit_code == 1 and "work/charades: no such folder. Name the dataset" in result.output


def test_what_may_not_be_read_is_told_and_stays(work, monkeypatch):
    path = work / "features" / "i3d" / "shard_1.h5"

    def refused(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patched:
        patched.setattr("vmr.storage.verify.h5py.File", refused)
        assert check_file(path) == Checked(None, unread="Permission denied")
    monkeypatch.setattr("vmr.storage.verify.check_file", crashing.may_not_read)
    code, text = verify("--delete")
    assert code == 1 and path.exists()
    assert "work/demo/features/i3d/shard_1.h5: could not be looked into (Permission denied); it stays" in text
    assert "nothing is damaged of what could be read; 1 could not." in text


def test_a_folder_that_cannot_be_listed_is_told(work, monkeypatch):
    monkeypatch.setattr("vmr.storage.verify.os.walk", partial(refusing_walk, os.walk, work / "features"))
    code, text = verify()
    assert code == 1 and "work/demo/features: could not be looked into (Permission denied)" in text


def refusing_walk(walk, folder, *arguments, onerror, **options):
    onerror(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder.relative_to(Path.cwd()))))
    return walk(*arguments, onerror=onerror, **options)


def test_a_file_that_is_never_read_to_its_end_does_not_hold_up_the_others(work, monkeypatch):
    monkeypatch.setattr("vmr.storage.verify.check_file", crashing.never_ends)
    monkeypatch.setattr("vmr.storage.verify._LEAST_SEC", 8.0)  # with the start of a process
    code, text = verify("--delete")
    assert code == 1 and (work / "features" / "i3d" / "shard_1.h5").exists()
    assert "shard_1.h5: could not be looked into (reading it did not end within 8 s; it may be damaged)" in text
    assert text.count("could not be looked into") == 1


def test_a_file_whose_own_checksum_is_gone_is_damaged(work):
    path = work / "features" / "i3d" / "shard_1.h5"
    with h5py.File(path, "r+") as file:
        file.attrs["contents_sha;56"] = file.attrs["contents_sha256"]
        del file.attrs["contents_sha256"]
    code, text = verify()
    assert code == 1 and "shard_1.h5: not as written: its checksum is not there" in text


def test_a_merged_file_is_damaged_without_its_shards(work):
    (work / "features" / "i3d" / "shard_1.h5").unlink()
    code, text = verify()
    assert code == 1 and "work/demo/features/i3d.h5: links to shard_1.h5, which is damaged or missing" in text
