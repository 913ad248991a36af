"""Which videos lie in a folder now, as one short digest for each shard."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from vmr.errors import VideoError
from vmr.names import VIDEO_EXTENSIONS
from vmr.storage.files import write_text
from vmr.video_ids import extension_of, shard_of, stem_of

# Folders below that of the videos are looked into: `train/kitchen/a.mp4` has two; links can make loops of them.
_DEPTH = 4


def folder_fingerprints(
    folder: Path | str, *, shards: int, extensions: tuple[str, ...] = VIDEO_EXTENSIONS
) -> list[str]:
    """Digest, 16 hexadecimal digits, of the names, sizes and modification times of the files of each shard of a folder.

    A rule that carries its shard's digest among its parameters runs again when a video of that shard was added,
    replaced or removed, and only then. One look at the folder, no file is opened.

    Args:
        folder: the folder of videos; a missing one counts as empty.
        extensions: ends of the names, in small letters, of the files that count.

    Raises:
        VideoError: the folder cannot be listed.
    """
    return _by_shard(_held(folder, extensions), shards)


def write_listing(folder: Path | str, path: Path | str) -> None:
    """Note which videos a folder holds now, for `changed_shards`: JSON of size and time by name."""
    write_text(path, json.dumps(_held(folder, VIDEO_EXTENSIONS), indent=0, sort_keys=True))


def changed_shards(folder: Path | str, listing: Path | str, *, shards: int) -> list[str]:
    """For each shard the word ``listed`` where its files are those of the listing, else their digest now; a folder that
    is missing with its listing is about to be fetched.
    """
    now = folder_fingerprints(folder, shards=shards)
    try:
        then = _by_shard(json.loads(Path(listing).read_text(encoding="utf-8")), shards)
    except (FileNotFoundError, ValueError):  # ValueError: written when listings were of digests
        then = [""] * shards if Path(folder).is_dir() else now
    return ["listed" if digest == before else digest for digest, before in zip(now, then, strict=True)]


def files_below(folder: Path | str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files of a folder and of its subfolders, hidden ones aside: their paths below it, and entries.

    What is named like a video is among them whatever it is, a folder or a broken link: probing says so.

    Raises:
        VideoError: the folder cannot be listed. A subfolder that cannot (`lost+found`) counts as empty.
    """
    level = [("", os.fspath(folder))]
    for depth in range(_DEPTH + 1):
        below = []
        for name, path in level:
            try:
                with os.scandir(path) as entries:
                    for entry in entries:
                        if extension_of(entry.name) or not entry.is_dir():
                            yield name + entry.name, entry
                        elif not entry.name.startswith("."):
                            below.append((f"{name}{entry.name}/", entry.path))
            except FileNotFoundError:
                pass
            except OSError as error:
                if not depth:
                    raise VideoError(
                        f"{folder}: a folder of videos was expected, it cannot be listed ({error.strerror or error}). "
                        "Make it readable, or name another one."
                    ) from error
        level = below


def _held(folder: Path | str, extensions: tuple[str, ...]) -> dict[str, str]:
    """Size and modification time of each file, by its path below; in names that are not UTF-8, surrogates."""
    held = {}
    for name, file in files_below(folder):
        if name.lower().endswith(extensions) and file.is_file():
            status = file.stat()
            held[name] = f"{status.st_size} {status.st_mtime_ns}"
    return held


def _by_shard(held: Mapping[str, str], shards: int) -> list[str]:
    lines: list[list[str]] = [[] for _ in range(shards)]
    stems = {name: stem_of(name) for name in held}
    counts = Counter(stems.values())
    for name, state in held.items():
        ids = {stems[name]}
        if counts[stems[name]] > 1:  # annotations that name both have the extensions in their ids
            ids.add(stems[name] + extension_of(name))
        for shard in {shard_of(own, shards) for own in ids}:
            lines[shard].append(f"{name}\0{state}")
    return [hashlib.sha256("\n".join(sorted(own)).encode("utf-8", "surrogateescape")).hexdigest()[:16] for own in lines]
