"""ffprobe for several visitors at once."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vmr.serve.limits import RefusedError
from vmr.video.ffprobe import Prober
from vmr.video.probe import probe_video

_TIMEOUT_SEC = 20.0
_PROBERS = 3


class Probers:
    """A few `Prober`s, so that a slow file blocks only one of them."""

    def __init__(self) -> None:
        self._free: queue.LifoQueue[Prober] = queue.LifoQueue()
        for _ in range(_PROBERS):
            self._free.put(Prober())

    def facts(self, path: Path) -> dict[str, Any]:
        """Columns of a manifest row, see `vmr.video.probe.probe_video`; `reason` says why a file cannot be used.

        Raises:
            RefusedError: all stay busy for too long.
        """
        with self._prober() as prober:
            return probe_video(prober, path, timeout_sec=_TIMEOUT_SEC)

    def close(self) -> None:
        """End the idle processes."""
        while True:
            try:
                self._free.get_nowait().close()
            except queue.Empty:
                return

    @contextmanager
    def _prober(self) -> Iterator[Prober]:
        try:
            prober = self._free.get(timeout=2 * _TIMEOUT_SEC)
        except queue.Empty:
            raise RefusedError(
                503, "The server is busy looking at other files. Try again in a minute.", retry_sec=60
            ) from None
        try:
            yield prober
        finally:
            self._free.put(prober)
