import json

import h5py
import numpy as np
import pytest

from vmr.storage.checksums import altered, contents_are_altered, is_sealed, links_of, seal, seal_file


@pytest.fixture
def path(tmp_path):
    """Two videos as features and a group each, a table of words, and links to another file."""
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.attrs["provenance"] = json.dumps({"stride": 8})
        for video in ("a", "b"):
            file[f"features/{video}"] = np.arange(12, dtype=np.float32).reshape(3, 4)
            file[f"features/{video}"].attrs["cosine"] = 0.5
            file[f"frames/{video}/stream"] = np.arange(100, dtype=np.uint8)
            file[f"frames/{video}"].attrs["fps"] = 24.0
        file.create_dataset("words", data=["<unk>", "é"], dtype=h5py.string_dtype())
        file["empty"] = np.zeros((0, 3))
        file["number"] = 3
        file.create_group("links")["x"] = h5py.ExternalLink("shard_0.h5", "features/x")
        seal_file(file)
    return path


def change(file, what):
    if what == "features/a":
        file[what][2, 3] += 1
    elif what == "frames/b":
        file["frames/b/stream"][99] = 0
    elif what == "words":
        file["words"][1] = "è"
    elif what == "attribute":
        file["features/b"].attrs["cosine"] = 0.6
    elif what == "provenance":
        file.attrs["provenance"] = json.dumps({"stride": 4})
    elif what == "removed":
        del file["features/b"]
    elif what == "added":
        file["features/c"] = np.zeros(3)
    elif what == "another link":
        del file["links/x"]
        file["links"]["x"] = h5py.ExternalLink("shard_1.h5", "features/x")
    elif what == "shape":
        data = file["features/a"][()]
        attributes = dict(file["features/a"].attrs)
        del file["features/a"]
        file["features/a"] = data.reshape(4, 3)
        file["features/a"].attrs.update(attributes)


def test_an_unaltered_file_is_all_right(path):
    with h5py.File(path) as file:
        assert is_sealed(file) and altered(file) == [] and links_of(file) == {"shard_0.h5"}


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("features/a", ["features/a"]),
        ("frames/b", ["frames/b"]),
        ("words", ["words"]),
        ("attribute", ["features/b"]),
        ("shape", ["features/a"]),
        ("provenance", ["contents"]),
        ("removed", ["contents"]),
        ("added", ["contents"]),
        ("another link", ["contents"]),
    ],
)
def test_what_was_altered_is_named(path, what, found):
    with h5py.File(path, "r+") as file:
        change(file, what)
    with h5py.File(path) as file:
        assert altered(file) == found
        assert contents_are_altered(file) == (found == ["contents"])


def test_any_altered_byte_of_the_data_is_found(path):
    raw = path.read_bytes()
    begin = raw.index(np.arange(12, dtype=np.float32).tobytes())
    for offset in (begin, begin + 47):
        path.write_bytes(raw[:offset] + bytes([raw[offset] ^ 1]) + raw[offset + 1 :])
        with h5py.File(path) as file:
            assert altered(file) == ["features/a"]


def test_copies_keep_their_checksums(path, tmp_path):
    with h5py.File(path, "r+") as file:
        file["features/a"][0, 0] = 7  # altered before it is copied: a new checksum would hide that
        with h5py.File(tmp_path / "copy.h5", "w") as copy:
            file.copy("features/a", copy.require_group("features"), name="z")
            seal_file(copy)
            assert altered(copy) == ["features/z"]


def test_a_group_that_was_sealed_by_itself_is_checked(tmp_path):
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["videos/stream"] = np.zeros(3)
        seal(file["videos"])
        assert altered(file) == [] and not is_sealed(file)
        file["videos/stream"][1] = 1
        assert altered(file) == ["videos"]


def test_files_without_checksums_are_not_judged(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["features/a"] = np.zeros(3)
        assert not is_sealed(file) and altered(file) == []
