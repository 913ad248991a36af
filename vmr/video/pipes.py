"""Pipes between processes. Imports nothing heavy: decord's child uses it too."""

from __future__ import annotations

import contextlib
import fcntl
from typing import Any

_BYTES = 1 << 20


def enlarge_pipe(pipe: Any) -> None:
    """Let a pipe hold a few frames instead of 64 KiB, so that its two ends do not wait for each other in step.

    Args:
        pipe: an open end; nothing happens where the system has no such setting.
    """
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _BYTES)
