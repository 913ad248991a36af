"""SIGKILL at random moments: nothing is done again except the video in flight, and the result is the same."""

import os
import random
import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

# All twenty take half a minute; `make faults` tries them all.
KILLS = 20 if "VMR_ALL_FAULTS" in os.environ else 6
FILES = {"decode": ("frames.h5", "frames.csv"), "extract": ("features.h5", "features.csv")}


def content(path):
    """Every dataset and attribute of an HDF5 file as bytes."""
    found = {}

    def visit(name, item):
        found[name] = item[()].tobytes() if isinstance(item, h5py.Dataset) else b""
        found.update({f"{name}@{key}": np.asarray(value).tobytes() for key, value in item.attrs.items()})

    with h5py.File(path, "r") as file:
        visit("", file)
        file.visititems(visit)
    return found


def kept_videos(output):
    """Ids of the videos whose parts are complete."""
    found = set()
    for part in output.with_name(f"{output.name}.parts").glob("[!.]*.h5"):
        with h5py.File(part, "r") as file:
            found.add(file.attrs["video_id"])
    return found


def begun(folder, stage):
    log = Path(f"{folder}.{stage}.log")
    return log.read_text().splitlines() if log.exists() else []


def said(folder, stage):
    return Path(f"{folder}.{stage}.err").read_text()


def prepare(folder, stage, undisturbed):
    folder.mkdir()
    if stage == "extract":
        for name in FILES["decode"]:
            shutil.copy(undisturbed / name, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "workers"), [("decode", 1), ("decode", 2), ("extract", 1)])
def test_killed_at_random_moments_and_started_again(tmp_path, stages, clip_manifest, undisturbed, stage, workers):
    random_moments = random.Random(f"{stage} {workers}")
    options = {"workers": workers} if stage == "decode" else {}
    begin = time.monotonic()
    whole = prepare(tmp_path / "whole", stage, undisturbed)
    assert stages.run(stage, whole, manifest=clip_manifest, **options) == 0
    whole_sec = time.monotonic() - begin
    kills = finished = rounds = 0
    while kills < KILLS or not finished:
        folder = prepare(tmp_path / f"round {rounds}", stage, undisturbed)
        output, table = (folder / name for name in FILES[stage])
        rounds += 1
        done: set[str] = set()
        while True:
            before = len(begun(folder, stage))
            delay = random_moments.uniform(0, 1.2 * whole_sec) if kills < KILLS else None
            code = stages.run(stage, folder, manifest=clip_manifest, kill_after_sec=delay, **options)
            work = begun(folder, stage)[before:]
            assert not done & set(work), "a finished video was worked on again"
            if code == 0:
                break
            assert code == -9, said(folder, stage)
            kills += 1
            finished_now = done if output.exists() else kept_videos(output)
            if not output.exists():
                assert len(set(work) - finished_now) <= workers, "more than the videos in flight were lost"
                done = finished_now
        finished += 1
        assert content(output) == content(whole / output.name)
        assert table.read_bytes() == (whole / table.name).read_bytes()
        assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in whole.iterdir())


@pytest.mark.parametrize("stage", ["decode", "extract"])
def test_killed_when_all_is_written_nothing_is_done_again(tmp_path, stages, clip_manifest, undisturbed, stage):
    folder = prepare(tmp_path / "killed", stage, undisturbed)
    output, table = (folder / name for name in FILES[stage])
    code = stages.run(stage, folder, manifest=clip_manifest, kill_when=output.exists)
    assert code in (0, -9)
    work = begun(folder, stage)
    assert len(work) == 6
    assert stages.run(stage, folder, manifest=clip_manifest) == 0
    assert begun(folder, stage) == work
    assert content(output) == content(undisturbed / output.name)
    assert table.read_bytes() == (undisturbed / table.name).read_bytes()
    assert not list(folder.glob("*.parts"))


@pytest.mark.parametrize("stage", ["decode", "extract"])
def test_leftovers_and_damaged_parts_do_no_harm(tmp_path, stages, clip_manifest, undisturbed, stage):
    folder = prepare(tmp_path / "killed", stage, undisturbed)
    output = folder / FILES[stage][0]
    parts = output.with_name(f"{output.name}.parts")
    stages.run(stage, folder, manifest=clip_manifest, kill_when=lambda: len(list(parts.glob("[!.]*.h5"))) >= 3)
    kept = sorted(parts.glob("[!.]*.h5"))
    kept[0].write_bytes(b"")  # as after a loss of power
    kept[1].write_bytes(kept[1].read_bytes()[:100])
    (parts / ".left.h5").write_bytes(b"half")
    (parts / ".final.h5").write_bytes(b"half")
    (parts / ".left.h264").write_bytes(b"half")
    assert stages.run(stage, folder, manifest=clip_manifest) == 0
    assert content(output) == content(undisturbed / output.name)
    assert not parts.exists()
