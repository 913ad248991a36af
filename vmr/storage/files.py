"""Atomic writes and digests of files: shared by every stage."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs

from vmr.errors import ShardError
from vmr.storage.locks import NoLocksError, try_lock


def default_cache() -> Path:
    """The folder `VMR_CACHE`, or the user's cache folder."""
    named = os.environ.get("VMR_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("vmr", appauthor=False)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds, else delete it.

    Readers see the old file or the complete new one. The temporary file has the same folder, since a rename cannot
    cross file systems, and the same suffix, since some writers choose the format by it. Missing folders are made.
    What killed processes left of the same file is deleted; living ones have a lock.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.stem[:80]}.vmr-"
    _delete_left(path, prefix)
    temporary, lock = _locked_temporary(path, prefix)
    try:
        yield temporary
        # mkstemp makes private files; results are readable as the umask says.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def _delete_left(path: Path, prefix: str) -> None:
    for left in path.parent.iterdir():
        if left.name.startswith(prefix) and left.suffix == path.suffix:
            with suppress(OSError):  # another one has deleted it, or there are no locks that tell
                lock = try_lock(left)
                if lock is not None:
                    left.unlink()
                    os.close(lock)


def _locked_temporary(path: Path, prefix: str) -> tuple[Path, int | None]:
    """A new file, and a descriptor that locks it; None where the file system has no locks."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
        os.close(descriptor)
        try:
            lock = try_lock(Path(name))
        except NoLocksError:
            return Path(name), None
        except FileNotFoundError:  # taken for a leftover before it was locked
            continue
        if lock is not None:
            return Path(name), lock


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn errors of the system while `path` is written into one clear error.

    Raises:
        ShardError: the disk is full, a limit is reached or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise ShardError(
            f"{path}: cannot be written ({error.strerror or error}). Free some space or choose another folder, and "
            "start again: what was finished is kept."
        ) from error


def numbered_files(paths: Iterable[Path | str]) -> list[Path]:
    """The files that paths name; ``shard_{0..31}.csv`` names 32 of them, both ends included.

    Snakemake passes a command as one argument, which Linux limits to 128 KiB: too little for the names of a thousand
    shards. An existing file of such a name is taken as it is.

    Raises:
        ValueError: the first number is larger than the last.

    >>> [path.name for path in numbered_files(["shard_{8..10}.csv", "extra.csv"])]
    ['shard_8.csv', 'shard_9.csv', 'shard_10.csv', 'extra.csv']
    """
    files: list[Path] = []
    for path in map(str, paths):
        numbers = re.search(r"\{(\d+)\.\.(\d+)\}", path)
        if numbers is None or Path(path).exists():
            files.append(Path(path))
            continue
        first, last = int(numbers[1]), int(numbers[2])
        if last < first:
            raise ValueError(f"{path}: {numbers[0]} ends before it begins; write {{{last}..{first}}}.")
        before, after = path[: numbers.start()], path[numbers.end() :]
        files += [Path(f"{before}{number}{after}") for number in range(first, last + 1)]
    return files


def write_text(path: Path | str, text: str) -> None:
    """Write `text` atomically in UTF-8, its lines ended as they are."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` atomically as indented, key-ordered JSON, so that equal content gives equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def sha256_file(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in bounded memory."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON-serialisable value, independent of key order.

    >>> sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
