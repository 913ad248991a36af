import logging

import pytest

from vmr.errors import VideoError
from vmr.video.manifest import DECODED_COLUMNS, MANIFEST_COLUMNS, find_videos, read_manifest, write_manifest


def test_rows_survive_writing_and_reading(tmp_path):
    rows = [
        {"video_id": "007", "status": "ok", "duration_sec": 31.0, "num_frames": 930, "mtime_ns": 1700000000123456789},
        {"video_id": "nan", "status": "missing", "reason": 'no file, "sorry"', "duration_sec": None},
    ]
    write_manifest(rows, tmp_path / "a.csv", columns=MANIFEST_COLUMNS)
    table = read_manifest([tmp_path / "a.csv"])
    assert table["video_id"].tolist() == ["007", "nan"]
    assert table["reason"].tolist() == ["", 'no file, "sorry"']
    assert table["mtime_ns"][0] == 1700000000123456789  # beyond what a float holds exactly
    assert table["num_frames"].isna().tolist() == [False, True]
    assert table["duration_sec"].isna().tolist() == [False, True]


def test_shards_are_read_as_one_table(tmp_path):
    for name in ("a", "b"):
        write_manifest([{"video_id": name, "note": "x"}], tmp_path / f"{name}.csv", columns=DECODED_COLUMNS)
    write_manifest([], tmp_path / "empty.csv", columns=DECODED_COLUMNS)
    table = read_manifest([tmp_path / "a.csv", tmp_path / "empty.csv", tmp_path / "b.csv"])
    assert table["video_id"].tolist() == ["a", "b"] and table["note"].tolist() == ["x", "x"]
    with pytest.raises(VideoError, match="two manifests"):
        read_manifest([tmp_path / "a.csv", tmp_path / "a.csv"])


def test_what_is_no_manifest_is_refused(tmp_path):
    with pytest.raises(VideoError, match="probe_videos"):
        read_manifest([tmp_path / "nowhere.csv"])
    with pytest.raises(VideoError, match="no video manifest"):
        read_manifest([])
    (tmp_path / "other.csv").write_text("video_id,path\na,b\n")
    with pytest.raises(VideoError, match="status"):
        read_manifest([tmp_path / "other.csv"])
    write_manifest([{"video_id": "a", "width": "wide"}], tmp_path / "bad.csv", columns=MANIFEST_COLUMNS)
    with pytest.raises(VideoError, match="width"):
        read_manifest([tmp_path / "bad.csv"])
    write_manifest([{"video_id": "a", "width": 10**30}], tmp_path / "bad.csv", columns=MANIFEST_COLUMNS)
    with pytest.raises(VideoError, match="width"):
        read_manifest([tmp_path / "bad.csv"])
    with pytest.raises(VideoError, match=r"a video manifest was expected, .*Is a directory"):
        read_manifest([tmp_path])


def test_files_are_found_by_id_and_extension(tmp_path, caplog):
    for name in ("a.mp4", "a.mkv", "b.MKV", "c.txt", "d.part.mp4", "aa.mp4"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        found = find_videos(tmp_path, ["a", "b", "c", "d.part", "e"])
    assert {name: path.name for name, path in found.items()} == {"a": "a.mp4", "b": "b.MKV", "d.part": "d.part.mp4"}
    assert "a.mkv left aside" in caplog.text
    assert find_videos(tmp_path / "nowhere", ["a"]) == {}
