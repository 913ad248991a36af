"""Files out of zip archives that are not trusted."""

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from vmr.errors import AssetError
from vmr.storage.files import atomic_path

_CHUNK_BYTES = 1 << 20
# Videos are compressed already: their archive is about as large as they are.
_LARGEST_RATIO = 2
_DAMAGED = (zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, NotImplementedError)


def extract_member(archive: Path, member: str, *, output: Path, limit_bytes: int) -> None:
    """Unpack one file of a zip archive to `output`, atomically; nothing else of it touches the disk.

    Args:
        member: name of the file, with or without its folders; the archive must have exactly one.
        limit_bytes: the largest size that is accepted, whatever the archive declares.

    Raises:
        AssetError: the archive is damaged, encrypted, or holds a path that leads out of a folder; the member is
            missing, ambiguous, a link or too large; or the output cannot be written.
    """
    with _opened(archive, output) as file:
        info = file.getinfo(_find(archive, file.namelist(), member))
        _extract(file, info, output, limit_bytes=limit_bytes)


def extract_files(archive: Path, folder: Path, *, suffixes: tuple[str, ...], limit_bytes: int) -> int:
    """Unpack the files of a zip archive of videos with one of some suffixes into one folder, and count them.

    Files that are there with the declared size are left alone, so that an interrupted call goes on.

    Args:
        suffixes: such as ``.mp4``, lower case; other members are skipped.

    Raises:
        AssetError: the archive is damaged, encrypted, or holds links or a path that leads out of a folder; two files
            have the same name, or no file has one of the suffixes; the files are suspiciously large; or the folder
            cannot be written.
    """
    with _opened(archive, folder) as file:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_hostile(archive, file.namelist())
        members: dict[str, zipfile.ZipInfo] = {}
        for info in file.infolist():
            path = PurePosixPath(info.filename)
            if info.is_dir() or "__MACOSX" in path.parts or path.suffix.lower() not in suffixes:
                continue
            if path.name in members:
                raise AssetError(f"{archive}: expected every file name once, but two files are called {path.name}.")
            members[path.name] = info
        if not members:
            raise AssetError(f"{archive}: expected files that end in {', '.join(suffixes)}, found none.")
        total, limit = sum(info.file_size for info in members.values()), _LARGEST_RATIO * archive.stat().st_size
        if total > limit:
            raise AssetError(
                f"{archive}: its files unpack to {total:,} bytes; at most {limit:,} were expected, since videos hardly "
                "get smaller in an archive. Not unpacked."
            )
        for name, info in tqdm(sorted(members.items()), desc="unpack", unit="file", disable=None):
            target = folder / name
            if not (target.is_file() and target.stat().st_size == info.file_size):
                _extract(file, info, target, limit_bytes=limit_bytes)
    return len(members)


@contextmanager
def _opened(archive: Path, output: Path) -> Iterator[zipfile.ZipFile]:
    try:
        if archive.is_file() and not zipfile.is_zipfile(archive):
            raise AssetError(f"{archive}: expected a zip archive, found something else. Remove it and try again.")
        with zipfile.ZipFile(archive) as file:
            yield file
    except FileNotFoundError as error:
        raise AssetError(f"{archive}: no such archive.") from error
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # that of a damaged bzip2 stream has no number
            raise AssetError(f"{archive}: cannot be unpacked to {output} ({error}).") from error
        raise AssetError(f"{archive}: damaged ({error}). Remove it and download it again.") from error


def _refuse_hostile(archive: Path, names: list[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or any(part.endswith(":") for part in path.parts[:1]):
            raise AssetError(f"{archive}: refused, since it holds the path {name!r}, which leads out of a folder.")


def _find(archive: Path, names: list[str], member: str) -> str:
    _refuse_hostile(archive, names)
    # Archives made on a Mac hold a shadow of every file.
    found = [name for name in names if f"/{name}".endswith(f"/{member}") and "__MACOSX" not in name]
    if len(found) != 1:
        listing = ", ".join(sorted(names)[:10]) + (", ..." if len(names) > 10 else "")
        raise AssetError(f"{archive}: expected {member} in it once, found it {len(found)} times among {listing}.")
    return found[0]


def _extract(file: zipfile.ZipFile, info: zipfile.ZipInfo, output: Path, *, limit_bytes: int) -> None:
    label = f"{file.filename}: {info.filename}"
    if info.flag_bits & 1:
        raise AssetError(f"{label} is encrypted.")
    if stat.S_ISLNK(info.external_attr >> 16) or info.is_dir():
        raise AssetError(f"{label} is a link or a folder, expected a file.")
    if info.file_size > limit_bytes:
        raise AssetError(
            f"{label} unpacks to {info.file_size:,} bytes; at most {limit_bytes:,} were expected. Not unpacked."
        )
    # zipfile stops at the declared size, so that a lying archive writes nothing beyond the limit.
    with file.open(info) as source, atomic_path(output) as temporary, temporary.open("wb") as target:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
