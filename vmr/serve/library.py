"""The videos that the page offers, from a folder and from uploads, by ids that are digests.

A browser sends an id to look up, never a part of a path.
"""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmr.errors import ConfigError
from vmr.serve.limits import RefusedError
from vmr.video.containers import VIDEO

log = logging.getLogger(__name__)

_SOUND = {".m4a", ".ogg"}
# Video files; each browser plays some of them.
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".ogv": "video/ogg",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
    ".flv": "video/x-flv",
    ".wmv": "video/x-ms-wmv",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".ts": "video/mp2t",
    ".m2ts": "video/mp2t",
    ".mts": "video/mp2t",
    ".3gp": "video/3gpp",
    ".gif": "image/gif",
}
# What the workflow takes, the page takes too; of the rest no browser plays anything.
MEDIA_TYPES |= {
    end: "application/octet-stream" for ends in VIDEO.values() for end in ends if end not in {*MEDIA_TYPES, *_SOUND}
}
_RESCAN_SEC = 3.0
_SCAN_SHARE = 20  # the pause after a scan, in times of its duration
_ID_DIGITS = 24


@dataclass(frozen=True)
class Video:
    """A video of the page."""

    id: str
    name: str
    path: Path
    size: int
    uploaded: bool = False  # whether it may be deleted from the page

    @property
    def media_type(self) -> str:
        """The media type for browsers."""
        return MEDIA_TYPES.get(self.path.suffix.lower(), "application/octet-stream")

    def plain(self) -> dict[str, Any]:
        """The facts for browsers, without the path."""
        return {"id": self.id, "name": self.name, "size": self.size, "uploaded": self.uploaded}


def video_id(content: bytes) -> str:
    """Id of a video, from a name or the SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()[:_ID_DIGITS]


def shown_name(name: str) -> str:
    r"""A file's name without control characters and without those that change the direction of writing.

    >>> shown_name("a\n\u202eb.mp4"), shown_name("caf\udce9.mp4"), shown_name("Überfahrt 2.mp4")
    ('a\ufffd\ufffdb.mp4', 'caf\ufffd.mp4', 'Überfahrt 2.mp4')
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)


class FolderVideos:
    """The videos of folders and their subfolders, scanned again every few seconds. Safe to use from threads.

    The names of several folders stand before those of their videos.

    Raises:
        ConfigError: a folder does not exist, or two have the same name.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if not folder.is_dir():
                found = "is a file" if folder.exists() else "there is no such folder"
                raise ConfigError(f"--videos {folder}: {found}. Name the folder of the videos.")
        names = [folder.resolve().name for folder in folders]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"--videos: two folders are called {name}. Rename one, or name the folder of both.")
        before = [f"{name}/" for name in names] if len(names) > 1 else [""] * len(names)
        self._folders = dict(zip(before, folders, strict=True))
        self._lock = threading.Lock()
        self._found: dict[str, Video] | None = None
        self._scan_at = 0.0

    def all(self) -> dict[str, Video]:
        """By id, in the order of their names."""
        found = self._found
        if found is not None and time.monotonic() < self._scan_at:
            return found
        # One thread scans; after the first scan, the others use the last result instead of waiting for a slow disk.
        if not self._lock.acquire(blocking=found is None):
            return found or {}
        try:
            begin = time.monotonic()
            if self._found is None or begin >= self._scan_at:
                scanned = [video for before, folder in self._folders.items() for video in _scan(folder, before)]
                videos = sorted(scanned, key=lambda video: (video.name.casefold(), video.id))
                self._found = {video.id: video for video in videos}
                end = time.monotonic()
                self._scan_at = end + max(_RESCAN_SEC, _SCAN_SHARE * (end - begin))
            return self._found
        finally:
            self._lock.release()


def matching(videos: dict[str, Video], words: str) -> list[Video]:
    """The videos whose names contain all words, in any case and order."""
    wanted = words.casefold().split()
    return [video for video in videos.values() if all(word in video.name.casefold() for word in wanted)]


def existing(video: Video | None) -> Video:
    """The video, if it and its file exist.

    Raises:
        RefusedError: one of them does not.
    """
    if video is None or not video.path.is_file():
        raise RefusedError(404, "This video is no longer there. Choose another one.")
    return video


def _scan(folder: Path, before: str) -> Iterator[Video]:
    """The videos of a folder, with what stands before their names.

    Links that lead out of it are left out: whoever may write a link would show any file.
    """
    root = folder.resolve()
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if name.startswith(".") or path.suffix.lower() not in MEDIA_TYPES or not path.is_file():
                continue
            if not path.resolve().is_relative_to(root):
                log.debug("%s: left out, since it leads out of %s", path, folder)
                continue
            name = f"{before}{path.relative_to(folder).as_posix()}"
            yield Video(video_id(os.fsencode(name)), shown_name(name), path, path.stat().st_size)
