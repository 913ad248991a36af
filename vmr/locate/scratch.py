"""Temporary folders that do not outlive killed processes for long."""

import contextlib
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from vmr.storage.locks import NoLocksError, try_lock

log = logging.getLogger(__name__)

# By then the process that made a folder has locked it.
_YOUNG_SEC = 60.0
# Locks may not reach other machines, so their folders are kept until nobody can use them any more.
_FORGOTTEN_SEC = 7 * 86400.0


@contextlib.contextmanager
def scratch_folder(parent: Path, *, purpose: str) -> Iterator[Path]:
    """A locked temporary folder in `parent`; its name begins with `purpose`. Deletes folders of killed processes."""
    sweep(parent, purpose=purpose)
    with tempfile.TemporaryDirectory(dir=parent, prefix=_prefix(purpose)) as name:
        lock = None
        with contextlib.suppress(NoLocksError):  # nobody sweeps there either
            lock = try_lock(Path(name))
        try:
            yield Path(name)
        finally:
            if lock is not None:
                os.close(lock)


def sweep(parent: Path, *, purpose: str) -> None:
    """Delete the folders of `scratch_folder` that killed processes left; the arguments are the same."""
    for folder in sorted(parent.glob(f"{purpose}-*")):
        with contextlib.suppress(OSError):
            age_sec = time.time() - folder.stat().st_mtime
            if age_sec < (_YOUNG_SEC if folder.name.startswith(_prefix(purpose)) else _FORGOTTEN_SEC):
                continue
            lock = try_lock(folder)
            if lock is not None:
                log.info("deleting %s, left by a process that was killed", folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _prefix(purpose: str) -> str:
    return f"{purpose}-{socket.gethostname()}-"
