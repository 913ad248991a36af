"""Files of videos are found under the names that annotations use for them; else what lies there is told."""

import logging
import unicodedata

import pytest

from vmr.annotations.read import read_annotations
from vmr.errors import AnnotationError
from vmr.video.listing import folder_fingerprints
from vmr.video.manifest import find_videos, why_missing
from vmr.video_ids import VideoNames, settle, stem_of


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"film")
    return folder


def ids_of(tmp_path, *names, form="csv"):
    path = tmp_path / f"annotations.{form}"
    if form == "csv":
        path.write_text("video,start,end,sentence\n" + "".join(f'"{name}",0,1,a.\n' for name in names))
    else:
        path.write_text("".join(f"{name} 0 1##a.\n" for name in names))
    parsed = read_annotations({"train": [path]}, annotation_format="auto")["train"]
    return [query.video_id for part in parsed for query in part.queries]


@pytest.mark.parametrize("form", ["csv", "txt"])
def test_one_video_has_one_id_however_it_is_written(tmp_path, form):
    names = [
        "3MSZA",
        "3MSZA.mp4",
        "3MSZA.MP4",
        "videos/3MSZA.mp4",
        "/home/me/videos/3MSZA.mp4",
        r"D:\me\videos\3MSZA.mp4",
    ]
    assert ids_of(tmp_path, *names[:5], form=form) == ["3MSZA"] * 5
    assert ids_of(tmp_path, names[5], form=form) == ["3MSZA"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("https://www.youtube.com/watch?app=desktop&v=dQw4w9WgXcQ&t=3s", "dQw4w9WgXcQ"),
        ("youtube.com/watch?v=dQw4w9WgXcQ", "dQw4w9WgXcQ"),
        ("https://youtu.be/dQw4w9WgXcQ?t=3", "dQw4w9WgXcQ"),
        ("https://x.org/films/my%20film.mp4#t=1", "my film"),
        ("file:///C:/films/K%C3%BCche%201.mp4", "Küche 1"),
        ("\u200bclip\u2060.mp4\ufeff", "clip"),
        ("100% ?#1.mp4", "100% ?#1"),
    ],
)
def test_addresses_and_invisible_marks(written, name):
    assert stem_of(written) == name


def test_two_files_of_one_stem_are_two_videos(tmp_path, caplog):
    folder = files(tmp_path / "v", "clip.mkv", "clip.mp4")
    ids = ids_of(tmp_path, "clip.mp4", "clip.mkv")
    found = find_videos(folder, ids)
    assert {name: path.name for name, path in found.items()} == {"clip.mp4": "clip.mp4", "clip.mkv": "clip.mkv"}
    with caplog.at_level(logging.WARNING):
        assert find_videos(folder, ["clip"])["clip"].name == "clip.mp4"
    assert "clip.mkv left aside" in caplog.text


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"day1/a\.mp4 and day2/a\.mp4 are two files of one name"):
        ids_of(tmp_path, "day1/a.mp4", "day2/a.mp4")


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_composed_and_decomposed_letters_are_the_same(tmp_path, on_disk, written):
    files(tmp_path / "v", *(unicodedata.normalize(on_disk, f"{name}.mp4") for name in ("café", "müsli", "b")))
    ids = ids_of(tmp_path, *(unicodedata.normalize(written, f"{name}.mp4") for name in ("café", "müsli", "b")))
    assert len(find_videos(tmp_path / "v", ids)) == 3


def test_files_of_cameras_are_found_and_others_are_named(tmp_path):
    folder = files(tmp_path / "v", "GX1.LRV", "c.qt", "o.mpe", "r.m2t", "M1.MOD", "odd.xyz", "bare", "Kitchen_07.mp4",
                   "twice.mp4.mp4", "packed.avi.zip")  # fmt: skip
    ids = ids_of(tmp_path, "GX1.LRV", "c.qt", "o.mpe", "r.m2t", "M1.MOD", "odd", "bare", "kitchen-7", "none")
    assert set(find_videos(folder, ids)) == {"GX1", "c", "o", "r", "M1"}
    reasons = why_missing(folder, ["odd", "bare", "kitchen-7", "none"])
    assert "odd.xyz is there, but .xyz is no extension that is read: rename it" in reasons["odd"]
    assert "bare is there" in reasons["bare"] and "is it Kitchen_07?" in reasons["kitchen-7"]
    assert reasons["none"] == ""
    # As Windows names files whose extensions it hides, and what was never unpacked.
    for name, end in (("twice", ".mp4.mp4"), ("packed", ".avi.zip")):
        assert f"({name}{end} is there, but {end} is no extension" in why_missing(folder, [name])[name]


def test_files_of_subfolders_are_found_where_their_names_are_unique(tmp_path):
    folder = files(
        tmp_path / "v", "a.mp4", "low/a.mp4", "train/day 1/b.MP4", "x/c.mp4", "y/c.mp4", ".cache/d.mp4", "x/e.xyz"
    )
    wanted = ids_of(tmp_path, "a.mp4", "train/b.mp4", "c.mp4", "d.mp4", "e")
    assert find_videos(folder, wanted) == {"a": folder / "a.mp4", "b": folder / "train/day 1/b.MP4"}
    reasons = why_missing(folder, ["c", "d", "e"])
    assert reasons["c"] == " (x/c.mp4 and y/c.mp4 are there: keep one, or give them different names)"
    assert reasons["d"] == "" and "x/e.xyz is there" in reasons["e"]
    before = folder_fingerprints(folder, shards=1)
    (folder / "train/day 1/b.MP4").write_bytes(b"another")
    assert folder_fingerprints(folder, shards=1) != before


def test_a_loop_of_links_among_subfolders_ends(tmp_path):
    folder = files(tmp_path / "v", "sub/a.mp4")
    (folder / "sub" / "again").symlink_to(folder)
    assert find_videos(folder, ["a"]) == {"a": folder / "sub/a.mp4"}


def test_a_shard_is_made_anew_when_one_of_two_files_of_a_stem_changes(tmp_path):
    folder = files(tmp_path / "v", "clip.mp4", "clip.mkv")
    before = folder_fingerprints(folder, shards=16)
    (folder / "clip.mkv").write_bytes(b"another")
    from vmr.video_ids import shard_of

    changed = {n for n, (a, b) in enumerate(zip(before, folder_fingerprints(folder, shards=16), strict=True)) if a != b}
    assert changed == {shard_of("clip", 16), shard_of("clip.mkv", 16)}


def test_blanks_around_a_name_do_not_count(tmp_path):
    folder = files(tmp_path / "v", " a b.mp4", "c .mp4")
    ids, _ = settle([" a b", "a b", "c ", "c .mp4", "c"])
    assert find_videos(folder, ids.values()) == {"a b": folder / " a b.mp4", "c": folder / "c .mp4"}


def test_names_of_queries_by_id():
    names = VideoNames(settle(["s13-d21.avi", "clip.mp4", "clip.mkv"])[0].values())
    assert [names.find(own) for own in ("s13-d21", "x/s13-d21.avi", "clip.mkv", "clip", "else")] == [
        "s13-d21", "s13-d21", "clip.mkv", None, None,
    ]  # fmt: skip
    assert VideoNames(["3MSZA"]).nearest("3msza") == " (is it 3MSZA?)"
