import os
from pathlib import Path

import pytest

from vmr.errors import VideoError
from vmr.video.listing import changed_shards, folder_fingerprints, write_listing
from vmr.video_ids import shard_of


def test_an_added_video_changes_its_own_shard_only(tmp_path):
    for number in range(20):
        (tmp_path / f"video{number}.mp4").write_bytes(b"x")
    before = folder_fingerprints(tmp_path, shards=4)
    (tmp_path / "new.mkv").write_bytes(b"y")
    after = folder_fingerprints(tmp_path, shards=4)
    assert [index for index in range(4) if before[index] != after[index]] == [shard_of("new", 4)]


def test_a_replaced_video_changes_its_shard(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    before = folder_fingerprints(tmp_path, shards=1)
    (tmp_path / "a.mp4").write_bytes(b"longer")
    assert folder_fingerprints(tmp_path, shards=1) != before


def test_a_missing_folder_counts_as_empty(tmp_path):
    assert folder_fingerprints(tmp_path / "none", shards=2) == folder_fingerprints(tmp_path, shards=2)


def test_what_is_no_folder_is_named(tmp_path):
    (tmp_path / "videos").write_text("a file")
    with pytest.raises(VideoError, match=r"videos: a folder of videos was expected, .*\(Not a directory\)"):
        folder_fingerprints(tmp_path / "videos", shards=3)


def test_a_listing_tells_which_shards_changed(tmp_path):
    folder, listing = tmp_path / "videos", tmp_path / "videos.listed"
    assert changed_shards(folder, listing, shards=3) == ["listed"] * 3  # about to be fetched
    folder.mkdir()
    for name in "abcdefgh":
        (folder / f"{name}.mp4").write_bytes(b"1")
    write_listing(folder, listing)
    assert changed_shards(folder, listing, shards=3) == ["listed"] * 3
    (folder / "a.mp4").write_bytes(b"another")
    changed = changed_shards(folder, listing, shards=3)
    touched = shard_of("a", 3)
    assert [shard for shard, word in enumerate(changed) if word != "listed"] == [touched]
    assert changed[touched] == folder_fingerprints(folder, shards=3)[touched]
    (folder / "a.mp4").unlink()
    removed = changed_shards(folder, listing, shards=3)
    assert [shard for shard, word in enumerate(removed) if word != "listed"] == [touched]
    assert removed[touched] != changed[touched]
    # With other shards, those without the changed video are still as listed.
    assert [word == "listed" for word in changed_shards(folder, listing, shards=5)] == [
        shard != shard_of("a", 5) for shard in range(5)
    ]
    listing.write_text("0123456789abcdef\n" * 3)
    assert changed_shards(folder, listing, shards=3) == folder_fingerprints(folder, shards=3)


def test_files_that_are_no_videos_change_nothing(tmp_path):
    (tmp_path / "a.MP4").write_bytes(b"x")
    before = folder_fingerprints(tmp_path, shards=1)
    (tmp_path / "notes.txt").write_text("to watch")
    (tmp_path / "mp4").write_text("no extension")
    assert folder_fingerprints(tmp_path, shards=1) == before
    assert folder_fingerprints(tmp_path, shards=1, extensions=("",)) != before
    (tmp_path / "b.MP4").write_bytes(b"x")
    assert folder_fingerprints(tmp_path, shards=1) != before


def test_a_name_that_is_not_utf_8_is_listed_like_others(tmp_path):
    folder, listing = tmp_path / "videos", tmp_path / "videos.listed"
    folder.mkdir()
    before = folder_fingerprints(folder, shards=1)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.mp4")).write_bytes(b"x")
    assert folder_fingerprints(folder, shards=1) != before
    write_listing(folder, listing)
    assert changed_shards(folder, listing, shards=1) == ["listed"]
