"""Limits of processes that decode, and pipes between them. Imports nothing heavy: decord's server uses it too."""

import contextlib
import ctypes
import fcntl
import resource
import select
import signal
import sys

# Address space of a process that decodes. What a damaged or absurd file asks for beyond it is its own failure; a
# picture of 8K with sixteen reference frames takes 1 GB.
MEMORY_LIMIT = 5 << 29
_BYTES = 1 << 20
LONGEST_WAIT_SEC = (2**31 - 1) / 1000  # what `poll` takes: 24 days
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def confine() -> None:
    """Limit this process's memory, and let it be killed when the thread that started it ends; for Linux alone.

    For `preexec_fn`: it runs between fork and exec, so it imports and allocates nothing.
    """
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


def enlarge_pipe(descriptor: int) -> None:
    """Let a pipe hold a few frames instead of 64 KiB, so that its two ends do not wait for each other, where the system
    allows it.
    """
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _BYTES)


def readable(descriptor: int, timeout_sec: float) -> bool:
    """Wait until there is something to read, or the other end is closed; False when the time is over before."""
    waiting = select.poll()  # `select` refuses descriptors beyond 1023
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(min(timeout_sec, LONGEST_WAIT_SEC) * 1000))
