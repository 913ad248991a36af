"""Files out of archives that are not trusted."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from vmr.errors import AssetError
from vmr.storage.files import atomic_path

_CHUNK_BYTES = 1 << 20
# Videos are compressed already: their archive is about as large as they are.
_LARGEST_RATIO = 2
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,
)


def extract_member(archive: Path | str, member: str, *, output: Path | str, limit_bytes: int) -> None:
    """Unpack one file of a zip or tar archive to `output`, atomically; nothing else of it touches the disk.

    Args:
        archive: a zip file, or a tar file with any compression that Python reads.
        member: name of the file, with or without the folders it lies in; it must be in there once.
        output: the file to write.
        limit_bytes: no honest version of the file is larger, whatever the archive declares.

    Raises:
        AssetError: the archive is damaged, encrypted, holds paths that lead out of a folder, lacks the member or has
            it twice, or the member is a link or larger than the limit; or the output cannot be written.
    """
    archive = Path(archive)
    with _clear_errors(archive, output):
        if zipfile.is_zipfile(archive):
            _from_zip(archive, member, Path(output), limit_bytes=limit_bytes)
        elif tarfile.is_tarfile(archive):
            _from_tar(archive, member, Path(output), limit_bytes=limit_bytes)
        else:
            raise AssetError(
                f"{archive}: expected a zip or tar archive, found something else. Remove it and try again."
            )


def extract_files(archive: Path | str, folder: Path | str, *, suffixes: tuple[str, ...], limit_bytes: int) -> int:
    """Unpack the files of a zip archive of videos with one of some suffixes, all into one folder.

    Files that are there with the declared size are left alone, so that an interrupted call goes on.

    Args:
        archive: a zip file.
        folder: where the files go; made when missing.
        suffixes: such as ``.mp4``, lower case; other members are passed over.
        limit_bytes: no honest file is larger.

    Returns:
        The number of such files.

    Raises:
        AssetError: the archive is damaged, encrypted, holds paths that lead out of a folder, links, two files of one
            name, none of the suffixes, or together more than videos of an archive of its size can have; or the folder
            cannot be written.
    """
    archive, folder = Path(archive), Path(folder)
    with _clear_errors(archive, folder), zipfile.ZipFile(archive) as file:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_hostile(archive, file.namelist())
        members: dict[str, zipfile.ZipInfo] = {}
        for info in file.infolist():
            path = PurePosixPath(info.filename)
            if info.is_dir() or "__MACOSX" in path.parts or path.suffix.lower() not in suffixes:
                continue
            if path.name in members:
                raise AssetError(f"{archive}: two files are called {path.name}; which one is meant is not clear.")
            members[path.name] = info
        if not members:
            raise AssetError(f"{archive}: expected files that end in {', '.join(suffixes)}, found none.")
        total, limit = sum(info.file_size for info in members.values()), _LARGEST_RATIO * archive.stat().st_size
        if total > limit:
            raise AssetError(
                f"{archive}: its files unpack to {total:,} bytes; at most {limit:,} were expected of its size, since "
                "videos hardly get smaller in an archive. Not unpacked."
            )
        for name, info in tqdm(sorted(members.items()), desc="unpack", unit="file", disable=None):
            _refuse_zip_member(archive, info)
            target = folder / name
            if not (target.is_file() and target.stat().st_size == info.file_size):
                label = f"{archive}: {info.filename}"
                opened = partial(file.open, info)
                _copy(opened, target, label=label, declared=info.file_size, limit=limit_bytes)
    return len(members)


@contextmanager
def _clear_errors(archive: Path, output: Path | str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise AssetError(f"{archive}: no such archive.") from error
    except _DAMAGED as error:
        raise AssetError(f"{archive}: damaged ({error}). Remove it and download it again.") from error
    except OSError as error:
        if error.errno is None:  # the system's errors have a number, that of a damaged bzip2 stream has none
            raise AssetError(f"{archive}: damaged ({error}). Remove it and download it again.") from error
        raise AssetError(f"{archive}: cannot be unpacked to {output} ({error}).") from error


def _from_zip(archive: Path, member: str, output: Path, *, limit_bytes: int) -> None:
    with zipfile.ZipFile(archive) as file:
        name = _find(archive, file.namelist(), member)
        info = file.getinfo(name)
        _refuse_zip_member(archive, info)
        _copy(lambda: file.open(info), output, label=f"{archive}: {name}", declared=info.file_size, limit=limit_bytes)


def _from_tar(archive: Path, member: str, output: Path, *, limit_bytes: int) -> None:
    with tarfile.open(archive) as file:
        name = _find(archive, file.getnames(), member)
        # The checksum of a compressed tar file lies behind its last byte: only reading on compares it.
        while file.fileobj is not None and file.fileobj.read(_CHUNK_BYTES):
            pass
        info = file.getmember(name)
        stream = file.extractfile(info) if info.isreg() else None
        if stream is None:
            raise AssetError(f"{archive}: {name} is a link or a folder, expected a file.")
        _copy(lambda: stream, output, label=f"{archive}: {name}", declared=info.size, limit=limit_bytes)


def _refuse_zip_member(archive: Path, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 1:
        raise AssetError(f"{archive}: {info.filename} is encrypted.")
    if stat.S_ISLNK(info.external_attr >> 16) or info.is_dir():
        raise AssetError(f"{archive}: {info.filename} is a link or a folder, expected a file.")


def _refuse_hostile(archive: Path, names: list[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or any(part.endswith(":") for part in path.parts[:1]):
            raise AssetError(f"{archive}: refused, since it holds the path {name!r}, which leads out of a folder.")


def _find(archive: Path, names: Iterable[str], member: str) -> str:
    names = list(names)
    _refuse_hostile(archive, names)
    # Archives made on a Mac hold a shadow of every file.
    found = [name for name in names if f"/{name}".endswith(f"/{member}") and "__MACOSX" not in name]
    if len(found) != 1:
        listing = ", ".join(sorted(names)[:10]) + (", ..." if len(names) > 10 else "")
        raise AssetError(f"{archive}: expected {member} in it once, found it {len(found)} times among {listing}.")
    return found[0]


def _copy(open_member: Callable[[], IO[bytes]], output: Path, *, label: str, declared: int, limit: int) -> None:
    if declared > limit:
        raise AssetError(f"{label} unpacks to {declared:,} bytes; at most {limit:,} were expected. Not unpacked.")
    # Both readers stop at the declared size, so that nothing beyond the limit comes out of a lying archive.
    with open_member() as source, atomic_path(output) as temporary, temporary.open("wb") as target:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
