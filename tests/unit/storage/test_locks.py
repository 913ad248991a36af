"""Locks between users; those between processes are tested where they are used (shards, cards, scratch folders)."""

import os
import tempfile
from pathlib import Path

import pytest

from vmr.storage.locks import try_lock, turn


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two other users")
def test_users_take_turns_at_a_free_lock_of_each_other():
    def as_user(number, path):
        """Exit code of a process of a user that locks a file: 0 when it has got it, 1 when not."""
        process = os.fork()
        if not process:
            os.setgid(number)
            os.setuid(number)
            code = 2
            try:
                code = int(try_lock(path, create=True) is None)
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)  # as /tmp is
        lock = Path(folder) / "lock"
        assert [as_user(number, lock) for number in (4001, 4002, 4001)] == [0, 0, 0]
        held = try_lock(lock)
        assert as_user(4002, lock) == 1
        os.close(held)
        assert as_user(4002, lock) == 0


def test_a_turn_leaves_no_file(tmp_path):
    with turn(tmp_path / "file"):
        assert [path.name for path in tmp_path.iterdir()] == [".file.lock"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="No such file"), turn(tmp_path / "absent" / "file"):
        pass
