"""Writing HDF5 files on disks that may get full, and reading files that may be damaged.

libhdf5 does not survive a failed write. It cannot close the file, prints tracebacks and, in a process with threads,
crashes (seen with h5py 3.16). So it writes through a file object that reports success and remembers the error.
"""

import functools
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import h5py

from vmr.errors import REPAIR, DamageError, VmrError
from vmr.storage.checksums import UNREADABLE, contents_are_altered


@contextmanager
def new_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Yield a new HDF5 file, open for writing; an existing file is replaced.

    Give a temporary name: after a failure the file is not valid.

    Raises:
        OSError: the file cannot be written, such as on a full disk.
    """
    with _PatientFile(path) as target:
        try:
            with h5py.File(target, "w") as file:
                yield file
        finally:
            # Raised before any other error, which is probably a consequence.
            target.raise_failure()


@contextmanager
def reading(path: Path | str, what: str) -> Iterator[None]:
    """Turn errors of h5py over a damaged file into one clear error, which no stage blames on a video.

    Raises:
        DamageError: the file cannot be read.
    """
    try:
        yield
    except UNREADABLE as error:
        raise DamageError(f"{path}: {what} cannot be read ({error or type(error).__name__}). {REPAIR}") from error


class HeldFile(ABC):
    """A file of ours that is read: what all kinds of them share. It is opened at the first access, without a lock, so
    that many processes may read it at once (and locks fail on network file systems).
    """

    _error: ClassVar[type[VmrError]]  # for a file that is missing, cut or of another kind
    _absent: ClassVar[str]  # what such an error says
    _unreadable: ClassVar[str]
    _of_videos: ClassVar[str]  # the group that has a member for each video

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._groups: dict[str, Any] = {}  # opened once

    @functools.cached_property
    def _open(self) -> h5py.File:
        try:
            file = h5py.File(self.path, "r", locking=False)
        except FileNotFoundError as error:
            raise self._error(f"{self.path}: {self._absent}") from error
        except OSError as error:
            raise self._error(f"{self.path}: {self._unreadable} ({error}). {REPAIR}") from error
        try:
            with self._reading():
                self._refuse_another_kind(file)
        except BaseException:
            file.close()
            raise
        return file

    @abstractmethod
    def _refuse_another_kind(self, file: h5py.File) -> None:
        """Raise where it is another kind of file."""

    def close(self) -> None:
        """Close the file; a later access opens it again."""
        self._groups.clear()
        if "_open" in vars(self):
            vars(self).pop("_open").close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __contains__(self, video_id: object) -> bool:
        return isinstance(video_id, str) and self._has(self._of_videos, video_id)

    @property
    def video_ids(self) -> list[str]:
        """Ids of the videos that it holds, sorted."""
        with self._reading():
            return sorted(self._group(self._of_videos) or ())

    @property
    def provenance(self) -> dict[str, Any]:
        """Settings, code and versions that made the content."""
        with self._reading("its provenance"):
            return dict(json.loads(self._open.attrs["provenance"]))

    def check_contents(self) -> None:
        """Refuse a file that names other videos, checksums or provenance than were written; their data is not read.

        Raises:
            DamageError: it does, or its list of videos cannot be read any more.
        """
        with self._reading():
            wrong = contents_are_altered(self._open)
        if wrong:
            raise DamageError(f"{self.path}: what it holds is not what was written there. {REPAIR}")

    def _reading(self, what: str = "its list of videos") -> AbstractContextManager[None]:
        return reading(self.path, what)

    def _has(self, group: str, video_id: str) -> bool:
        # Asks for the link itself: h5py's `in` follows it, and a video of a lost shard, or with damaged frames, would
        # have never been there.
        with self._reading():
            members = self._group(group)
            return members is not None and bool(members.id.links.exists(video_id.encode("utf-8", "surrogateescape")))

    def _group(self, name: str) -> Any:
        """A group of the file; None where it is not there, as in a shard of which no video could be decoded."""
        # Not `get`, for which a group that cannot be read is one that is not there.
        if name not in self._groups and self._open.id.links.exists(name.encode()):
            self._groups[name] = self._open[name]
        return self._groups.get(name)


class _PatientFile(io.FileIO):
    """A file that reports success for every write; after a failure it writes nothing more."""

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
        """Raise the first error of the system, if there was one."""
        if self._failure is not None:
            raise self._failure
