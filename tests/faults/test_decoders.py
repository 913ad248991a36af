"""Decoders that hang, abort, are killed or want too much memory: other videos go on, and nothing is left running."""

import os
import shutil
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from faults import corpus
from sectioned import sectioned

from vmr.config.sections import VideoSettings
from vmr.video.decode import decode_frames
from vmr.video.frames import FrameStore
from vmr.video.manifest import MANIFEST_COLUMNS, read_manifest, write_manifest
from vmr.video.probe import probe_video

FAULTY_DECORD = Path(__file__).with_name("faulty_decord")
# ffmpeg goes wrong with files of certain names; everything else is the real one's.
FAULTY_FFMPEG = """#!/bin/sh
case "$*" in
    *endless*) exec "{ffmpeg}" -v error -re -f lavfi -i testsrc2=s=64x64 -c:v libx264 -f h264 - ;;
    *both-hangs*) exec sleep 1000 ;;
    *both-aborts*) kill -ABRT $$ ;;
esac
exec "{ffmpeg}" "$@"
"""
TIMEOUT_SEC = 3


def make_shard(folder, names, *, frames=12):
    clip = corpus.clips.render(folder / "clip.mp4", *corpus.FAST, frames=frames)
    rows = []
    for name in names:
        path = folder / f"{name}.mp4"
        shutil.copy(clip, path)
        rows.append({"video_id": name, **probe_video(path, timeout_sec=20)})
    write_manifest(rows, folder / "videos.csv", columns=MANIFEST_COLUMNS)


def decode(folder, **options):
    decode_frames(
        manifest=folder / "videos.csv",
        output=folder / "frames.h5",
        decoded_manifest=folder / "frames.csv",
        **sectioned(
            VideoSettings,
            {"short_side": 64, "decode_timeout_sec": 20, "workers": 2, "max_failed_share": 1.0} | options,
        ),
    )
    return read_manifest([folder / "frames.csv"]).set_index("video_id")


def marked_processes(mark):
    """Processes that carry an environment variable, as Linux tells."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture
def mark(monkeypatch):
    """A variable that everything started from here inherits."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("processes are found through /proc")
    mark = f"VMR_FAULT_TEST={uuid.uuid4()}"
    monkeypatch.setenv(*mark.split("="))
    return mark


@pytest.fixture
def faulty_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FAULTY_DECORD), prepend=os.pathsep)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ffmpeg").write_text(FAULTY_FFMPEG.format(ffmpeg=shutil.which("ffmpeg")))
    (folder / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_faults_of_decord_are_noted_and_ffmpeg_steps_in(tmp_path, faulty_programs, mark):
    names = ["hangs", "aborts", "killed", "server", "greedy", "good one", "good two"]
    make_shard(tmp_path, names)
    table = decode(tmp_path, decode_timeout_sec=TIMEOUT_SEC)
    assert (table["status"] == "ok").all()
    assert table["note"]["hangs"] == f"decoding took longer than {TIMEOUT_SEC} s"
    assert "decord was killed by signal 6" in table["note"]["aborts"]
    assert "decord was killed by signal 9" in table["note"]["killed"]
    assert table["note"]["server"] == "decord's process died"
    assert "MemoryError" in table["note"]["greedy"]
    decoders = table["decoder"].to_dict()
    assert decoders == dict.fromkeys(names[:5], "ffmpeg") | {"good one": "decord", "good two": "decord"}
    with FrameStore(tmp_path / "frames.h5") as store:
        for name in names:
            assert corpus.clips.numbers_of(np.concatenate(list(store.read(name)))) == list(range(12)), name
    assert not marked_processes(mark)


def test_videos_that_no_decoder_survives_are_rows_with_a_reason(tmp_path, faulty_programs, mark):
    make_shard(tmp_path, ["both-hangs", "both-aborts", "good"])
    table = decode(tmp_path, decode_timeout_sec=TIMEOUT_SEC)
    assert table["status"].to_dict() == {"both-hangs": "bad", "both-aborts": "bad", "good": "ok"}
    assert table["reason"]["both-hangs"].count(f"decoding took longer than {TIMEOUT_SEC} s") == 2
    assert "ffmpeg was killed by signal 6" in table["reason"]["both-aborts"]
    assert "decord was killed by signal 6" in table["reason"]["both-aborts"]
    assert not marked_processes(mark)


@pytest.mark.parametrize("name", ["good", "both-aborts, endless"])
def test_a_killed_run_leaves_no_decoder_behind(tmp_path, stages, faulty_programs, mark, name):
    make_shard(tmp_path, [name], frames=250)
    killed = tmp_path / "killed"
    killed.mkdir()

    def is_writing():  # so that decoder and encoder are at work
        return any(file.stat().st_size for file in killed.glob("frames.h5.parts/.*.h264"))

    environment = {variable: os.environ[variable] for variable in ("PATH", "PYTHONPATH", *mark.split("=")[:1])}
    code = stages.run(
        "decode",
        killed,
        manifest=tmp_path / "videos.csv",
        kill_when=is_writing,
        environment=environment,
        decode_timeout_sec=1000,
    )
    assert code == -9
    deadline = time.monotonic() + 20
    while left := marked_processes(mark):
        assert time.monotonic() < deadline, [Path(f"/proc/{process}/cmdline").read_bytes() for process in left]
        time.sleep(0.1)
