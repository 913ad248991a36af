import os
import struct
import zipfile

import pytest

from vmr.assets.archives import extract_files, extract_member
from vmr.errors import AssetError

LIMIT = 1_000_000


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_one_member_is_unpacked_and_nothing_else(tmp_path):
    archive = make_zip(
        tmp_path / "a", {"top/train.json": b"train", "top/val.json": b"val", "__MACOSX/top/train.json": b"x"}
    )
    output = tmp_path / "new" / "train.json"
    extract_member(archive, "train.json", output=output, limit_bytes=LIMIT)
    assert output.read_bytes() == b"train"
    assert [path.name for path in output.parent.iterdir()] == ["train.json"]


def test_a_member_at_the_top_or_by_its_whole_path(tmp_path):
    archive = make_zip(tmp_path / "a", {"train.json": b"top", "sub/other.json": b"sub"})
    extract_member(archive, "train.json", output=tmp_path / "o", limit_bytes=LIMIT)
    assert (tmp_path / "o").read_bytes() == b"top"
    extract_member(archive, "sub/other.json", output=tmp_path / "o", limit_bytes=LIMIT)
    assert (tmp_path / "o").read_bytes() == b"sub"


@pytest.mark.parametrize("members", [{"b.json": b"1"}, {"x/a.json": b"1", "y/a.json": b"2"}, {"extra_a.json": b"1"}])
def test_a_missing_or_ambiguous_member_is_named(members, tmp_path):
    archive = make_zip(tmp_path / "arch", members)
    with pytest.raises(AssetError, match=r"arch: expected a.json in it once, found it [02] times among"):
        extract_member(archive, "a.json", output=tmp_path / "o", limit_bytes=LIMIT)
    assert not (tmp_path / "o").exists()


def test_a_bomb_is_not_unpacked(tmp_path):
    archive = make_zip(tmp_path / "arch", {"a.json": bytes(LIMIT + 1)})
    with pytest.raises(AssetError, match=r"a.json unpacks to 1,000,001 bytes; at most 1,000,000"):
        extract_member(archive, "a.json", output=tmp_path / "o", limit_bytes=LIMIT)
    extract_member(archive, "a.json", output=tmp_path / "o", limit_bytes=LIMIT + 1)


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path):
    """The central directory is altered to declare ten bytes: nothing beyond the limit may reach the disk."""
    archive = make_zip(tmp_path / "arch", {"a.json": bytes(5 * LIMIT)})
    raw = bytearray(archive.read_bytes())
    central = raw.index(b"PK\x01\x02")
    raw[central + 24 : central + 28] = struct.pack("<I", 10)
    archive.write_bytes(raw)
    with pytest.raises(AssetError):
        extract_member(archive, "a.json", output=tmp_path / "o", limit_bytes=LIMIT)
    assert not (tmp_path / "o").exists()


def test_damaged_archives_are_named_and_leave_nothing(tmp_path):
    archive = make_zip(tmp_path / "arch", {"a.json": os.urandom(50_000)})
    raw = bytearray(archive.read_bytes())
    for offset in range(200, 2000):
        raw[offset] ^= 0xFF
    archive.write_bytes(raw)
    with pytest.raises(AssetError, match="arch"):
        extract_member(archive, "a.json", output=tmp_path / "o", limit_bytes=LIMIT)
    assert [path.name for path in tmp_path.iterdir()] == ["arch"]


def test_an_encrypted_member_is_named(tmp_path):
    archive = make_zip(tmp_path / "arch", {"a.json": b"1"})
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)
    with pytest.raises(AssetError, match="encrypted"):
        extract_member(archive, "a.json", output=tmp_path / "o", limit_bytes=LIMIT)


def test_no_archive_at_all(tmp_path):
    (tmp_path / "page").write_text("<html>not found</html>")
    with pytest.raises(AssetError, match="page: expected a zip archive"):
        extract_member(tmp_path / "page", "a.json", output=tmp_path / "o", limit_bytes=LIMIT)
    with pytest.raises(AssetError, match="no such archive"):
        extract_member(tmp_path / "absent", "a.json", output=tmp_path / "o", limit_bytes=LIMIT)


def test_all_videos_go_into_one_folder_and_nothing_else(tmp_path):
    make_zip(tmp_path / "a.zip", {"Charades/x.mp4": b"one", "y.MP4": b"two", "Charades/readme.txt": b"no"})
    for _ in range(2):  # the second time nothing is left to do
        assert extract_files(tmp_path / "a.zip", tmp_path / "out", suffixes=(".mp4",), limit_bytes=10) == 2
        assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {"x.mp4": b"one", "y.MP4": b"two"}


def test_unpacking_goes_on_after_a_kill(tmp_path):
    make_zip(tmp_path / "a.zip", {"x.mp4": b"one", "y.mp4": b"two"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.mp4").write_bytes(b"ONE")  # the right size: not unpacked again
    (tmp_path / "out" / "y.mp4").write_bytes(b"t")  # cut
    extract_files(tmp_path / "a.zip", tmp_path / "out", suffixes=(".mp4",), limit_bytes=10)
    assert [(tmp_path / "out" / name).read_bytes() for name in ("x.mp4", "y.mp4")] == [b"ONE", b"two"]


def test_a_damaged_bzip2_stream_is_named(tmp_path):
    """Its decoder says so by an OSError without a number, and here only in a later block."""
    content, archive = os.urandom(2_000_000), tmp_path / "arch"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a.mp4", content)
    raw = bytearray(archive.read_bytes())
    for offset in range(1_500_000, 1_500_200):
        raw[offset] ^= 0xFF
    archive.write_bytes(raw)
    with pytest.raises(AssetError, match=r"arch: damaged \("):
        extract_member(archive, "a.mp4", output=tmp_path / "o", limit_bytes=2 * LIMIT)
    with pytest.raises(AssetError, match=r"arch: damaged \("):
        extract_files(archive, tmp_path / "out", suffixes=(".mp4",), limit_bytes=2 * LIMIT)
    assert not list((tmp_path / "out").iterdir())


def test_what_the_system_cannot_write_is_named(tmp_path):
    make_zip(tmp_path / "a.zip", {"x" * 300 + ".mp4": b"1"})
    with pytest.raises(AssetError, match=r"a\.zip: cannot be unpacked to .*out \(.*File name too long: '.*xxx\.mp4'"):
        extract_files(tmp_path / "a.zip", tmp_path / "out", suffixes=(".mp4",), limit_bytes=10)
    with pytest.raises(AssetError, match=r"a\.zip: cannot be unpacked to .*xxx\.mp4 \(.*File name too long"):
        member = "x" * 300 + ".mp4"
        extract_member(tmp_path / "a.zip", member, output=tmp_path / member, limit_bytes=10)


def test_a_bomb_of_many_members_is_not_unpacked(tmp_path):
    """Each is within the limit; together they are more than videos of so small an archive can be."""
    archive = make_zip(tmp_path / "a.zip", {f"{number}.mp4": bytes(100_000) for number in range(60)})
    with pytest.raises(AssetError, match=r"a\.zip: its files unpack to 6,000,000 bytes; at most"):
        extract_files(archive, tmp_path / "out", suffixes=(".mp4",), limit_bytes=100_000)
    assert not list((tmp_path / "out").iterdir())
    # Videos hardly get smaller.
    make_zip(archive, {f"{number}.mp4": os.urandom(10_000) + bytes(5_000) for number in range(6)})
    assert extract_files(archive, tmp_path / "out", suffixes=(".mp4",), limit_bytes=100_000) == 6


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"a/x.mp4": b"1", "b/x.mp4": b"2"}, "two files are called x.mp4"),
        ({"readme.txt": b"1"}, "expected files that end in .mp4, found none"),
    ],
)
def test_archives_of_videos_that_are_refused(members, said, tmp_path):
    make_zip(tmp_path / "a.zip", members)
    with pytest.raises(AssetError, match=said):
        extract_files(tmp_path / "a.zip", tmp_path / "out", suffixes=(".mp4",), limit_bytes=10)
    assert not list((tmp_path / "out").iterdir())
