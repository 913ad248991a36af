"""Single files out of archives that are not trusted."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from vmr.errors import AssetError
from vmr.files import atomic_path

_CHUNK_BYTES = 1 << 20
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
            it twice, or the member is a link or larger than the limit.
    """
    archive = Path(archive)
    try:
        if zipfile.is_zipfile(archive):
            _from_zip(archive, member, Path(output), limit_bytes=limit_bytes)
        elif tarfile.is_tarfile(archive):
            _from_tar(archive, member, Path(output), limit_bytes=limit_bytes)
        else:
            raise AssetError(
                f"{archive}: expected a zip or tar archive, found something else. Remove it and try again."
            )
    except FileNotFoundError as error:
        raise AssetError(f"{archive}: no such archive.") from error
    except _DAMAGED as error:
        raise AssetError(f"{archive}: damaged ({error}). Remove it and download it again.") from error


def _from_zip(archive: Path, member: str, output: Path, *, limit_bytes: int) -> None:
    with zipfile.ZipFile(archive) as file:
        name = _find(archive, file.namelist(), member)
        info = file.getinfo(name)
        if info.flag_bits & 1:
            raise AssetError(f"{archive}: {name} is encrypted.")
        if stat.S_ISLNK(info.external_attr >> 16) or info.is_dir():
            raise AssetError(f"{archive}: {name} is a link or a folder, expected a file.")
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


def _find(archive: Path, names: Iterable[str], member: str) -> str:
    names = list(names)
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or any(part.endswith(":") for part in path.parts[:1]):
            raise AssetError(f"{archive}: refused, since it holds the path {name!r}, which leads out of a folder.")
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
