"""ffprobe for several visitors at once."""

import threading
from pathlib import Path
from typing import Any

from vmr.serve.limits import RefusedError
from vmr.video.ffprobe import require_program
from vmr.video.probe import probe_video

_TIMEOUT_SEC = 20.0
_PROBERS = 3


class Probers:
    """Looks at a few files at the same time; others wait.

    Raises:
        ShardError: ffprobe is not installed.
    """

    def __init__(self) -> None:
        require_program("ffprobe")
        self._free = threading.BoundedSemaphore(_PROBERS)

    def facts(self, path: Path) -> dict[str, Any]:
        """Columns of a manifest row, see `vmr.video.probe.probe_video`; `reason` says why a file cannot be used.

        Raises:
            RefusedError: too many files are looked at for too long.
        """
        if not self._free.acquire(timeout=2 * _TIMEOUT_SEC):
            raise RefusedError(503, "The server is busy looking at other files. Try again in a minute.", retry_sec=60)
        try:
            return probe_video(path, timeout_sec=_TIMEOUT_SEC)
        finally:
            self._free.release()
