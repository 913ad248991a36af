import fcntl
import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress

import h5py
import numpy as np
import pytest

from vmr.errors import ShardError
from vmr.storage.checksums import altered
from vmr.storage.shard import PartialShard
from vmr.video_ids import shard_of


def put(shard, video_id, value, fingerprint="1"):
    shard.add(
        video_id,
        fingerprint=fingerprint,
        row={"video_id": video_id, "status": "ok"},
        write=lambda file: file.create_dataset("features", data=np.full(3, value)),
    )


def finish(path, *, settings=None, **values):
    """A shard that was finished without a failure."""
    with PartialShard(path, settings=settings or {}) as shard:
        for video_id, value in values.items():
            put(shard, video_id, value)
        shard.finish(values, attributes={}, fingerprints=dict.fromkeys(values, "1"))
        shard.clear()


def test_videos_keep_their_shard_when_others_come():
    assert [shard_of(video, 1) for video in ("a", "b")] == [0, 0]
    # `printf 3MSZA | sha256sum` begins with dca2e58fe234196b: that number modulo 32 and 7.
    assert [shard_of("3MSZA", 32), shard_of("3MSZA", 7)] == [11, 5]
    counts = np.bincount([shard_of(f"video {number}", 8) for number in range(8000)], minlength=8)
    assert counts.min() > 800
    assert counts.max() < 1200


def test_a_finished_shard_holds_every_video_and_no_parts(tmp_path):
    shard = PartialShard(tmp_path / "shard.h5", settings={"window": 64})
    put(shard, "b", 2.0)
    put(shard, "ä 'x' \"y\"", 3.0)
    shard.add("bad", fingerprint="1", row={"video_id": "bad", "status": "bad"})
    rows = shard.finish(["b", "bad", "ä 'x' \"y\""], attributes={"provenance": {"window": 64}, "kind": "x"})
    shard.clear()
    assert [row["video_id"] for row in rows] == ["b", "bad", "ä 'x' \"y\""]
    with h5py.File(tmp_path / "shard.h5") as file:
        assert sorted(file["features"]) == ["b", "ä 'x' \"y\""]
        assert file["features/b"][:].tolist() == [2.0, 2.0, 2.0]
        assert json.loads(file.attrs["provenance"]) == {"window": 64}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shard.h5", "shard.h5.kept"]
    assert (tmp_path / "shard.h5").samefile(tmp_path / "shard.h5.kept")  # a second name, not a copy


def test_finished_videos_survive_a_kill_and_only_they_count(tmp_path):
    put(PartialShard(tmp_path / "s.h5", settings={"stride": 8}), "a", 1.0)
    again = PartialShard(tmp_path / "s.h5", settings={"stride": 8})
    assert again.done("a", "1") == {"video_id": "a", "status": "ok"}
    assert again.done("a", "another file") is None
    assert again.done("b", "1") is None


def test_altered_parts_and_an_altered_final_file_do_not_count(tmp_path):
    shard = PartialShard(tmp_path / "s.h5", settings={})
    put(shard, "a", 1.0)
    (part,) = (tmp_path / "s.h5.parts").glob("*.h5")
    with h5py.File(part, "r+") as file:
        file["features"][0] = 2.0
    assert shard.done("a", "1") is None
    put(shard, "a", 1.0)
    assert shard.finished({"a": "1"}) is None
    shard.finish(["a"], attributes={}, fingerprints={"a": "1"})
    shard.close()

    def finished(**fingerprints):
        with PartialShard(tmp_path / "s.h5", settings={}) as again:
            return again.finished(fingerprints)

    assert finished(a="1") == [{"video_id": "a", "status": "ok"}]
    assert finished(a="2") is None and finished(a="1", b="1") is None
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["features/a"][0] = 2.0
    assert finished(a="1") is None


def test_a_finished_shard_of_other_settings_does_not_count(tmp_path):
    finish(tmp_path / "s.h5", a=1.0)
    assert PartialShard(tmp_path / "s.h5", settings={"other": 1}).finished({"a": "1"}) is None


def test_parts_of_other_settings_are_thrown_away(tmp_path):
    put(PartialShard(tmp_path / "s.h5", settings={"stride": 8}), "a", 1.0)
    assert PartialShard(tmp_path / "s.h5", settings={"stride": 16}).done("a", "1") is None


def test_a_deleted_final_file_comes_back_as_it_was(tmp_path):
    """Snakemake deletes it before it starts a job again."""
    path = tmp_path / "s.h5"
    finish(path, settings={"stride": 8}, a=1.0)
    written = path.read_bytes()
    os.utime(path, (1, 1))
    path.unlink()
    for other in ({"a": "2"}, {"a": "1", "b": "1"}, {}):
        with PartialShard(path, settings={"stride": 8}) as again:
            assert again.finished(other) is None and not path.exists()
    with PartialShard(path, settings={"stride": 8}) as again:
        assert again.finished({"a": "1"}) == [{"video_id": "a", "status": "ok"}]
    assert path.read_bytes() == written and path.stat().st_mtime > 1
    path.unlink()
    with PartialShard(path, settings={"stride": 4}) as other:
        assert other.finished({"a": "1"}) is None and other.done("a", "1") is None


def test_only_new_and_changed_videos_of_a_deleted_final_file_are_done(tmp_path):
    path = tmp_path / "s.h5"
    shard = PartialShard(path, settings={})
    for name, value in (("a", 1.0), ("b", 2.0), ("gone", 3.0)):
        put(shard, name, value)
    shard.add("bad", fingerprint="1", row={"video_id": "bad", "status": "bad"})
    shard.finish(["a", "b", "gone", "bad"], attributes={})  # one failed: not finished for good
    shard.clear()
    path.unlink()
    with PartialShard(path, settings={}) as again:
        assert again.done("a", "1") == {"video_id": "a", "status": "ok"}
        assert again.done("bad", "1") == {"video_id": "bad", "status": "bad"}
        assert again.done("b", "2") is None and again.done("c", "1") is None
        put(again, "b", 4.0, fingerprint="2")
        put(again, "c", 5.0)
        rows = again.finish(["a", "b", "bad", "c"], attributes={}, fingerprints=dict(a="1", b="2", bad="1", c="1"))
        again.clear()
    assert [row["video_id"] for row in rows] == ["a", "b", "bad", "c"]
    with h5py.File(path) as file:
        assert {name: values[0] for name, values in file["features"].items()} == {"a": 1.0, "b": 4.0, "c": 5.0}
        assert not altered(file)
    with PartialShard(path, settings={}) as last:
        assert last.finished(dict(a="1", b="2", bad="1", c="1")) == rows


def test_a_damaged_kept_file_does_not_count(tmp_path):
    path = tmp_path / "s.h5"
    finish(path, a=1.0)
    with h5py.File(path, "r+") as file:
        file["features/a"][0] = 2.0
    path.unlink()
    with PartialShard(path, settings={}) as again:
        assert again.finished({"a": "1"}) is None and again.done("a", "1") is None


def test_without_hard_links_nothing_is_kept(tmp_path, monkeypatch):
    def unsupported(source, target):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", unsupported)
    finish(tmp_path / "s.h5", a=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


def test_same_videos_in_another_order_give_the_same_features(tmp_path):
    for name, order in (("one", "abc"), ("two", "cab")):
        finish(tmp_path / f"{name}.h5", **{video: float(ord(video)) for video in order})
    with h5py.File(tmp_path / "one.h5") as one, h5py.File(tmp_path / "two.h5") as two:
        assert list(one["features"]) == list(two["features"])
        assert all((one["features"][v][:] == two["features"][v][:]).all() for v in "abc")


def test_a_disk_that_refuses_is_one_clear_error(tmp_path):
    shard = PartialShard(tmp_path / "s.h5", settings={})

    def full(file):
        raise OSError(28, "No space left on device")

    with pytest.raises(ShardError, match=r"s\.h5.*No space left.*Free some space"):
        shard.add("a", fingerprint="1", row={}, write=full)
    assert shard.done("a", "1") is None


def test_one_process_at_a_time_works_on_a_shard(tmp_path):
    path = tmp_path / "s.h5"
    hold = (
        "import sys, time; from vmr.storage.shard import PartialShard\n"
        f"shard = PartialShard({str(path)!r}, settings={{}})\n"
        "shard.add('a', fingerprint='1', row={'video_id': 'a'})\n"
        "print('holds', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "holds\n"
    came = []
    waiting = threading.Thread(target=lambda: came.append(PartialShard(path, settings={"stride": 4})), daemon=True)
    waiting.start()
    waiting.join(timeout=0.5)
    # Other settings would have thrown away the part that the other process has finished.
    assert not came and len(list((tmp_path / "s.h5.parts").glob("*.h5"))) == 1
    other.kill()
    waiting.join(timeout=20)
    assert len(came) == 1 and came[0].done("a", "1") is None


def test_a_shard_that_ended_with_an_error_is_free_at_once(tmp_path):
    with pytest.raises(ShardError) as kept, PartialShard(tmp_path / "s.h5", settings={}) as shard:
        put(shard, "a", 1.0)
        raise ShardError("too many videos failed")
    # The error is still held here, and with its traceback everything that it passed by.
    with PartialShard(tmp_path / "s.h5", settings={}) as again:
        assert again.done("a", "1") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5.parts"] and kept.value is not None


def test_no_file_is_locked_to_be_read(tmp_path):
    """A lock is what a file system without locks refuses; here all files are locked by somebody else instead."""
    path = tmp_path / "s.h5"
    with ExitStack() as held:

        def lock_all():
            for file in (path, *tmp_path.glob("s.h5.parts/*.h5")):
                with suppress(FileNotFoundError, BlockingIOError):  # not there, or locked here already
                    fcntl.flock(held.enter_context(file.open("rb")), fcntl.LOCK_EX | fcntl.LOCK_NB)

        for again in (False, True):
            with PartialShard(path, settings={}) as shard:
                assert (shard.done("a", "1") is not None) == again
                put(shard, "b" if again else "a", 1.0)
                lock_all()
                assert shard.done("a", "1") is not None
                finished = {"a": "1", "b": "1"} if again else {"a": "1"}
                assert len(shard.finish(finished, attributes={}, fingerprints=finished)) == len(finished)
                lock_all()
                shard.clear()
        with PartialShard(path, settings={}) as shard:
            assert shard.finished({"a": "1", "b": "1"}) is not None


def test_a_file_system_without_locks_is_only_warned_about(tmp_path, monkeypatch, caplog):
    def unsupported(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    put(PartialShard(tmp_path / "s.h5", settings={}), "a", 1.0)
    assert "no locks on this file system" in caplog.text
