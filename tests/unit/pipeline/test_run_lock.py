"""Whose lock is abandoned; with Snakemake itself in tests/workflow/test_integrity.py."""

import json
import os
import subprocess
import sys

import pytest

from vmr.pipeline.run_lock import note_owner, open_abandoned

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")


@pytest.fixture
def locked(tmp_path):
    """A folder with the lock of a process that has ended; changes what it had noted."""
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.output.lock").write_text("x\n")
    note = "from pathlib import Path; from vmr.pipeline.run_lock import note_owner; note_owner(Path(), is_local=True)"
    note += "; import os; os._exit(9)"
    assert subprocess.run([sys.executable, "-c", note], cwd=tmp_path, start_new_session=True).returncode == 9
    (owner,) = tmp_path.glob(".snakemake/owners/*.json")

    def change(**facts):
        owner.write_text(json.dumps(json.loads(owner.read_text()) | facts))
        return tmp_path

    return change


def is_locked(folder):
    return bool(list(folder.glob(".snakemake/locks/*.lock")))


@pytest.mark.parametrize("facts", [{}, {"boot": "before the power was lost", "is_local": True}])
def test_a_lock_of_nobody_is_taken_away(locked, facts):
    folder = locked(**facts)
    assert "its lock was taken away" in open_abandoned(folder)
    assert not is_locked(folder) and not list(folder.glob(".snakemake/owners/*")) and open_abandoned(folder) == ""


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"host": "elsewhere"}, ""),
        ({"pids": "pid:[1]"}, ""),  # another container
        ({"is_local": False}, "type: snakemake --unlock"),
    ],
)
def test_a_lock_that_may_be_held_stays(locked, facts, told):
    folder = locked(**facts)
    assert told in open_abandoned(folder) and bool(told) == bool(open_abandoned(folder)) and is_locked(folder)


def test_a_living_process_and_one_that_has_not_noted_itself_keep_theirs(locked):
    folder = locked()
    newer = folder / ".snakemake/locks/1.input.lock"
    newer.touch()
    os.utime(newer, ns=(2**62, 2**62))
    assert open_abandoned(folder) == "" and is_locked(folder)
    newer.unlink()
    note_owner(folder, is_local=True)
    assert open_abandoned(folder) == "" and is_locked(folder)
