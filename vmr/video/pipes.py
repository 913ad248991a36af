"""Pipes between processes. Imports nothing heavy: decord's server uses it too."""

from __future__ import annotations

import contextlib
import fcntl
import select

# Address space of a process that decodes. What a damaged or absurd file asks for beyond it is its own failure; a
# picture of 8K with sixteen reference frames takes 1 GB.
MEMORY_LIMIT = 5 << 29
_BYTES = 1 << 20
_LONGEST_WAIT_MS = 2**31 - 1  # what `poll` takes: 24 days


def enlarge_pipe(descriptor: int) -> None:
    """Let a pipe hold a few frames instead of 64 KiB, so that its two ends do not wait for each other in step.

    Args:
        descriptor: an open end; nothing happens where the system has no such setting.
    """
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _BYTES)


def readable(descriptor: int, timeout_sec: float) -> bool:
    """Wait until there is something to read, or the other end is closed; False when the time is over before."""
    waiting = select.poll()  # `select` refuses descriptors beyond 1023
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(min(timeout_sec * 1000, _LONGEST_WAIT_MS)))
