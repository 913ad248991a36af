"""Pipes between processes. Imports nothing heavy: decord's server uses it too."""

from __future__ import annotations

import contextlib
import fcntl

# Address space of a process that decodes. What a damaged or absurd file asks for beyond it is its own failure; a
# picture of 8K with sixteen reference frames takes 1 GB.
MEMORY_LIMIT = 5 << 29
_BYTES = 1 << 20


def enlarge_pipe(descriptor: int) -> None:
    """Let a pipe hold a few frames instead of 64 KiB, so that its two ends do not wait for each other in step.

    Args:
        descriptor: an open end; nothing happens where the system has no such setting.
    """
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _BYTES)
