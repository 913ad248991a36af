"""Temporary folders: gone after use, and after a kill swept away by the next process, but never from under anyone."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from vmr.locate.scratch import scratch_folder, sweep

HOLD = """
import sys, time
from pathlib import Path
from vmr.locate.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), purpose="decoding") as folder:
    (folder / "frames.h5").write_bytes(b"frames")
    print(folder, flush=True)
    time.sleep(60)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def age(folder, seconds):
    then = time.time() - seconds
    os.utime(folder, (then, then))


def test_folders_in_use_stay_and_those_of_the_killed_go(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        held = Path(holder.stdout.readline().strip())
        try:
            age(held, 3600)
            sweep(tmp_path, purpose="decoding")
            assert names(held) == ["frames.h5"]
        finally:
            holder.kill()
    sweep(tmp_path, purpose="decoding")
    assert not held.exists()


def test_what_is_young_or_of_another_machine_stays(tmp_path):
    here, there = f"decoding-{socket.gethostname()}-a", "decoding-elsewhere-b"
    for name in (here, there, "features"):
        (tmp_path / name).mkdir()
    age(tmp_path / there, 6 * 86400)
    age(tmp_path / "features", 30 * 86400)
    sweep(tmp_path, purpose="decoding")
    assert names(tmp_path) == sorted([here, there, "features"])
    age(tmp_path / here, 61)
    age(tmp_path / there, 8 * 86400)
    with scratch_folder(tmp_path, purpose="decoding") as folder:
        assert names(tmp_path) == sorted([folder.name, "features"])
    assert names(tmp_path) == ["features"]
