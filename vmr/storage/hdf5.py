"""Writing HDF5 files on disks that may get full, and reading files that may be damaged.

libhdf5 does not survive a write that fails: it cannot close the file any more, prints tracebacks from its destructors
and, in a process with threads, ends in a segmentation fault (seen with h5py 3.16). So it writes through a file object
that never fails it, and remembers what went wrong.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from vmr.errors import REPAIR, DamageError
from vmr.storage.checksums import UNREADABLE


@contextmanager
def new_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Write an HDF5 file; one that is there is replaced.

    Args:
        path: the file. Give a temporary name, since it is no valid file when this fails.

    Yields:
        The open file.

    Raises:
        OSError: the disk is full, or the file cannot be written for another reason.
    """
    with _PatientFile(path) as target:
        try:
            with h5py.File(target, "w") as file:
                yield file
        finally:
            # Before whatever else went wrong: it is likely to be a consequence.
            target.raise_failure()


@contextmanager
def reading(path: Path | str, what: str) -> Iterator[None]:
    """Turn what h5py raises for a damaged file into one clear error, which no stage takes for the fault of a video.

    Args:
        path: the file.
        what: that is read from it, for the message.

    Raises:
        DamageError: it cannot be read.
    """
    try:
        yield
    except UNREADABLE as error:
        raise DamageError(f"{path}: {what} cannot be read ({error or type(error).__name__}). {REPAIR}") from error


class _PatientFile(io.FileIO):
    """A file whose writes succeed for the one who writes; after a failure nothing more is written."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "w+")
        self._failure: OSError | None = None

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        written = 0
        while written < len(view) and self._failure is None:
            try:
                written += super().write(view[written:])
            except OSError as error:
                self._failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return size or 0

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        got = super().readinto(view) or 0
        if self._failure is not None:
            view[got:] = bytes(len(view) - got)
            got = len(view)
        return got

    def raise_failure(self) -> None:
        """Say what went wrong, if anything did."""
        if self._failure is not None:
            raise self._failure
