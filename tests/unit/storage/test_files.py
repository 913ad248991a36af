import json
import os
import stat

import pytest

from vmr.cli.groups import refuse_inputs
from vmr.errors import ConfigError
from vmr.storage.files import atomic_path, numbered_files, sha256_file, sha256_json, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="in the middle"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("in the middle")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_what_a_killed_process_left_goes_with_the_next_write_and_a_living_ones_stays(tmp_path):
    target = tmp_path / "table.csv"
    if (child := os.fork()) == 0:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            os._exit(0)  # as by SIGKILL: nothing is cleared up
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_path(target) as first, atomic_path(target) as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
        second.write_text("second")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_the_temporary_file_is_beside_the_target_with_its_suffix(tmp_path):
    with atomic_path(tmp_path / "new" / "clip.mp4") as temporary:
        assert temporary.suffix == ".mp4"
        assert temporary.parent == tmp_path / "new"
        temporary.write_bytes(b"x")
    assert (tmp_path / "new" / "clip.mp4").read_bytes() == b"x"


def test_results_are_readable_by_others_as_the_umask_says(tmp_path):
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
    (tmp_path / "plain.txt").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "plain.txt")}
    assert len(modes) == 1


def test_json_is_written_alike_whatever_the_order_of_keys(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": "é", "b": 1}


def test_digests(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})


def test_one_name_stands_for_the_files_of_many_shards(tmp_path):
    assert numbered_files([tmp_path / "a {9..11}.csv", "b_{3..3}.h5", "c.h5"]) == [
        *(tmp_path / f"a {number}.csv" for number in (9, 10, 11)),
        *map(type(tmp_path), ("b_3.h5", "c.h5")),
    ]
    (tmp_path / "{1..2}.csv").touch()  # somebody's file of that very name
    assert numbered_files([tmp_path / "{1..2}.csv"]) == [tmp_path / "{1..2}.csv"]
    # None at all would be taken for manifests that are not needed.
    with pytest.raises(ValueError, match=r"\{4\.\.2\} ends before it begins"):
        numbered_files(["shard_{4..2}.csv"])


def test_what_is_read_is_not_written_over(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")
    refuse_inputs(tmp_path / "new", [tmp_path / "a"])
    refuse_inputs(None, [tmp_path / "a"])
    refuse_inputs(tmp_path / "a", [tmp_path / "none", None, ""])
    for output in ("a", "link"):
        with pytest.raises(ConfigError, match=r"is read, too, and would be lost"):
            refuse_inputs(tmp_path / output, [None, str(tmp_path / "a")])
