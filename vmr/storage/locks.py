"""Locks that one process has at a time, and that end with it, whatever ends it."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

_LOOK_AGAIN_SEC = 0.2


class NoLocksError(OSError):
    """The file system has no locks."""


def try_lock(path: Path, *, create: bool = False) -> int | None:
    """An open descriptor that has the lock of a file or folder until it is closed; None where another process has it.

    Links are not followed. A file of another user is locked too, if it may be read.

    Raises:
        NoLocksError: the file system has no locks.
        OSError: the file cannot be opened.
    """
    while True:
        descriptor = _open(path, create=create)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had the lock before may have removed the file, and a third one have made it anew.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise NoLocksError(error.errno, error.strerror) from error
        os.close(descriptor)


def _open(path: Path, *, create: bool) -> int:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_RDWR)  # NFS locks only what is open for writing
    except (PermissionError, IsADirectoryError):
        return os.open(path, flags | os.O_RDONLY)
    except FileNotFoundError:
        if not create:
            raise
        # Only now O_CREAT: a shared folder may refuse it for the file of another user, though it may be read.
        return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o644)


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Take the turn of this process at a file in an existing folder; another process that wants it waits until this one
    has done or ended.

    The lock is a file ``.{name}.lock`` in the same folder. Without locks on the file system there is only a warning.

    Raises:
        OSError: the folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    descriptor, waiting = None, False
    try:
        while (descriptor := try_lock(lock, create=True)) is None:
            if not waiting:
                logger.info("%s: another process works on it; waiting until it has ended", path)
            waiting = True
            time.sleep(_LOOK_AGAIN_SEC)
    except NoLocksError as error:
        logger.warning("%s: no locks on this file system (%s); start nothing twice at a time", path, error)
    try:
        yield
    finally:
        if descriptor is not None:
            # While the lock is held: whoever waits for it sees that the file is gone, and makes a new one.
            lock.unlink(missing_ok=True)
            os.close(descriptor)
