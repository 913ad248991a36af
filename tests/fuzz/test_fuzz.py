"""A few files of the fuzzer, and every input that once failed: each is a result or a reason, within bounds."""

import random
import sys

import pytest
from fuzz import readers
from fuzz.run import KEPT, fuzz_media

from vmr.config.sections import VideoSettings
from vmr.video.decode import decode_frames
from vmr.video.manifest import MANIFEST_COLUMNS, read_manifest, write_manifest
from vmr.video.probe import probe_video

VIDEOS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif")


def kept(videos):
    found = sorted(KEPT.iterdir()) if KEPT.is_dir() else []
    return [pytest.param(path, id=path.name) for path in found if (path.suffix in VIDEOS) == videos]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_few_videos(tmp_path):
    facts = fuzz_media(12, 5, tmp_path, kept=tmp_path / "kept")
    assert sum(facts["became"].values()) == 12 and facts["faults"] == []
    for name, stage in facts["stages"].items():
        assert stage["faults"] == [], name


@pytest.mark.slow
def test_a_few_files_of_each_kind(tmp_path):
    facts = readers.fuzz(60, random.Random(5), tmp_path, tmp_path / "kept")
    assert facts["faults"] == [] and all(sum(became.values()) >= 2 for became in facts["became"].values())


@pytest.mark.parametrize("path", kept(videos=False))
def test_a_file_that_once_failed(path):
    kind, said = readers.tried(readers.reader_of(path.name.partition("-")[2]), path)
    assert kind in ("read", "refused"), said


@pytest.mark.parametrize("path", kept(videos=True))
def test_a_video_that_once_failed(tmp_path, path):
    row = probe_video(path, timeout_sec=10)
    assert "unexpected" not in row["reason"] and "\n" not in row["reason"]
    if row["status"] == "ok":
        write_manifest([{"video_id": "kept", **row}], tmp_path / "videos.csv", columns=MANIFEST_COLUMNS)
        decode_frames(
            manifest=tmp_path / "videos.csv",
            output=tmp_path / "frames.h5",
            decoded_manifest=tmp_path / "frames.csv",
            settings=VideoSettings(short_side=64, decode_timeout_sec=5, max_failed_share=1.0),
        )
        (reason,) = read_manifest([tmp_path / "frames.csv"])["reason"].fillna("")
        assert "unexpected" not in reason and "\n" not in reason
