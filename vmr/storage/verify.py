"""Looking for files of a dataset that were cut or altered after they were written, and removing them."""

import errno
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
from tqdm import tqdm

from vmr.errors import ConfigError, DamageError
from vmr.storage.checksums import UNREADABLE, altered, is_sealed, links_of, lost_its_seal

_SHOWN = 3
# Of the file's owner, the disk and the network, not of what the file holds.
_FROM_OUTSIDE = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EMFILE)
# libhdf5 may go round for ever in an altered file, or ask for any amount of memory.
_LEAST_SEC, _SLOWEST_BYTES_PER_SEC, _MOST_BYTES = 300.0, 10**6, 8 << 30
# By these a process ends over what a library does. Others come from outside, as from a lack of memory, and say nothing
# of the file that was being read.
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)


@dataclass(frozen=True)
class Checked:
    """What was found in one file."""

    damage: str | None  # what is wrong with it; None for nothing
    sealed: bool = True  # whether it has checksums; files without are only opened
    links: frozenset[Path] = frozenset()  # files that it links to
    unread: str | None = None  # why it could not be looked into, which says nothing of what it holds; None where it was


@dataclass
class Verified:
    """What became of the files of a dataset."""

    files: int = 0  # number of files that were read
    size_bytes: int = 0  # of all of them
    damaged: dict[Path, str] = field(default_factory=dict)  # the bad ones, and what is wrong with each
    unsealed: list[Path] = field(default_factory=list)  # files without checksums, which were only opened
    unread: dict[Path, str] = field(default_factory=dict)  # files and folders of which nothing is known, and why


def verify_files(folder: Path) -> Verified:
    """Read every HDF5 file that the workflow has made for a dataset, and compare it with its checksums.

    A process of its own reads them, since libhdf5 does not survive every altered byte. Where it crashes, the file is
    damaged, and a new process goes on with the next.

    Raises:
        ConfigError: there is no such folder.
        DamageError: the process that reads was ended from outside, so that nothing is known of a file.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder. Name the dataset, and with --work the folder of its files.")
    result = Verified()
    links: dict[Path, set[Path]] = {}
    with closing(_Reader()) as reader:
        for path in tqdm(list(_files_of(folder, result.unread)), desc="verify", unit="file", disable=None):
            result.files += 1
            result.size_bytes += path.stat().st_size if path.exists() else 0  # a link to nothing
            checked = reader.check(path)
            if not checked.sealed:
                result.unsealed.append(path)
            if checked.unread is not None:
                result.unread[path] = checked.unread
            elif checked.damage is None:
                links[path] = set(checked.links)
            else:
                result.damaged[path] = checked.damage
    # A merged file is good for nothing without its shards, and Snakemake makes these only for one that is not there.
    bad = {path.resolve() for path in result.damaged}
    for path, targets in links.items():
        if lost := sorted(target for target in targets if target in bad or not target.exists()):
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            result.damaged[path] = f"links to {lost[0].name}{more}, which is damaged or missing"
    return result


def check_file(path: Path) -> Checked:
    """Read an HDF5 file and compare it with its checksums; links are not followed."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            sealed = is_sealed(file)
            if lost_its_seal(file):
                return Checked("not as written: its checksum is not there, those of its parts are", sealed=False)
            if wrong := altered(file):
                more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
                return Checked(f"not as written: {', '.join(wrong[:_SHOWN])}{more}", sealed=sealed)
            links = frozenset((path.parent / name).resolve() for name in links_of(file) if name)
            return Checked(None, sealed=sealed, links=links)
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in _FROM_OUTSIDE:
            return Checked(None, unread=os.strerror(error.errno))
        return Checked(f"not readable: {error or type(error).__name__}")


class _Reader:
    """A process that checks one file after the other; after a crash a new one goes on."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Any = None

    def check(self, path: Path) -> Checked:
        """What `check_file` finds in the process.

        Raises:
            DamageError: the process was ended from outside.
        """
        if self._process is None:
            self._start()
        try:
            self._pipe.send(path)
            size = path.stat().st_size if path.exists() else 0
            limit = _LEAST_SEC + size / _SLOWEST_BYTES_PER_SEC
            if not self._pipe.poll(limit):
                self.close()
                return Checked(None, unread=f"reading it did not end within {limit:.0f} s; it may be damaged")
            found: Checked = self._pipe.recv()
            return found
        except (EOFError, OSError):  # at once when the process ends, however it does
            process = self._process
            self.close()
        if -process.exitcode in _CRASHES:
            return Checked(f"not readable: reading it ends the process ({signal.Signals(-process.exitcode).name})")
        raise DamageError(
            f"{path}: the process that read it was ended from outside (exit code {process.exitcode}; -9 is often a "
            "lack of memory), so nothing is known of this file. Start again."
        )

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._pipe.close()
            self._process.join(timeout=1)
            self._process.terminate()  # still busy with a file when the command was interrupted
            self._process.join()
            self._process = None

    def _start(self) -> None:
        # Not a fork: of a process with threads it may hang.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, check_file), name="verify", daemon=True)
        self._process.start()
        theirs.close()  # else nothing would tell that the process has ended


def _serve(pipe: Any, check: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command gets it, too, and ends this process
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        pipe.send(check(path))


def _files_of(folder: Path, unread: dict[Path, str]) -> Iterator[Path]:
    """Files of a folder and of those that it links to, as to a larger disk; each folder once, should links go round.

    Folders that cannot be listed are noted in `unread`.
    """
    seen: set[Path] = set()

    def refused(error: OSError) -> None:
        unread[Path(error.filename)] = error.strerror or str(error)

    for root, folders, names in os.walk(folder, followlinks=True, onerror=refused):
        seen.add(Path(root).resolve())
        # Parts of a shard at work are checked by who goes on with it; hidden files are being written.
        folders[:] = [
            name for name in sorted(folders) if not name.endswith(".parts") and Path(root, name).resolve() not in seen
        ]
        yield from (Path(root, name) for name in sorted(names) if name.endswith(".h5") and not name.startswith("."))
