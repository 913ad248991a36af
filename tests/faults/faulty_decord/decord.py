"""The real decord with faults: found before it on the PYTHONPATH, it goes wrong at the third frame of certain files."""

import os
import signal
import sys
import time
from pathlib import Path

HERE = str(Path(__file__).parent)
sys.path = [entry for entry in sys.path if entry != HERE]
del sys.modules["decord"]

import decord  # noqa: E402


class FaultyReader(decord.VideoReader):
    """Hangs, aborts, is killed, or takes the whole server with it, as the file's name says."""

    def __init__(self, path: str, **options: object) -> None:
        super().__init__(path, **options)
        self._name = Path(path).stem
        self._frames = 0

    def next(self) -> object:
        self._frames += 1
        if self._frames == 3:
            if "hangs" in self._name:
                time.sleep(1000)
            if "aborts" in self._name:
                os.abort()
            if "killed" in self._name:
                os.kill(os.getpid(), signal.SIGKILL)
            if "server" in self._name:
                os.kill(os.getppid(), signal.SIGKILL)
            if "greedy" in self._name:
                self._hoard = b"x" * (4 << 30)
        return super().next()


decord.VideoReader = FaultyReader
