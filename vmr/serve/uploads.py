"""Uploaded files: checked, stored under names of our own, within a limit for all."""

import asyncio
import errno
import hashlib
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePosixPath
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from vmr.serve.library import MEDIA_TYPES, Video, shown_name, video_id
from vmr.serve.limits import Limits, RefusedError, for_visitors, megabytes
from vmr.serve.probing import Probers
from vmr.storage.files import write_json
from vmr.storage.json_text import load_json
from vmr.video_ids import plain_name

log = logging.getLogger(__name__)

_PART = "part-"
_KINDS_TOLD = 9  # of sixty
_STALE_SEC = 3600.0
_WRITE_BYTES = 1 << 20
_NAME_CHARS = 200
_SPARE_BYTES = 200 * 10**6  # of the disk, left free
_SLOWEST_BYTES_PER_SEC = 10_000  # slower uploads would block others for hours


class Uploads:
    """The folder of uploads. Safe to use from threads; several servers may share a folder.

    Args:
        forget: called with a file before its deletion.
        busy: whether a video is in use and must stay.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        probers: Probers,
        *,
        forget: Callable[[Path], None] = lambda path: None,
        busy: Callable[[str], bool] = lambda video: False,
    ) -> None:
        self.folder, self._limits, self._probers, self._forget, self._busy = folder, limits, probers, forget, busy
        self._lock = threading.Lock()
        self._coming: dict[object, int] = {}
        self._videos = {video.id: video for video in self._stored()}

    def all(self) -> dict[str, Video]:
        """By id, the latest first."""
        with self._lock:
            return dict(reversed(self._videos.items()))

    def remove(self, id: str) -> None:
        """Delete an upload and its cached features.

        Raises:
            RefusedError: the id is unknown, or the video is in use.
        """
        with self._lock:
            if id not in self._videos:
                raise RefusedError(404, "Only uploaded videos can be removed here.")
            if self._busy(id):
                raise RefusedError(409, "This video is in use. Stop the work on it, then remove it.")
            self._delete(self._videos.pop(id))

    async def receive(self, name: str, size: int | None, chunks: AsyncIterator[bytes]) -> Video:
        """Store a file; nothing of a refused one stays.

        Args:
            name: of the visitor's file; it is only shown, and its ending is checked.

        Raises:
            RefusedError: the file is too large, of another kind, or broken.
        """
        name = shown_name(plain_name(name)[-_NAME_CHARS:]) or "video"
        suffix = PurePosixPath(name).suffix.lower()
        if suffix not in MEDIA_TYPES:
            kinds = ", ".join([*MEDIA_TYPES][:_KINDS_TOLD])
            raise RefusedError(415, f"{name}: only video files are taken, whose names end in {kinds} and the like.")
        if size is None:
            raise RefusedError(411, f"{name}: the request does not give the size of the file (Content-Length).")
        if size > self._limits.upload_bytes:
            most = megabytes(self._limits.upload_bytes)
            raise RefusedError(413, f"{name} has {megabytes(size)}; files of up to {most} are taken. Cut or shrink it.")
        ticket = object()
        await run_in_threadpool(self._expect, ticket, size, name)
        part: Path | None = None
        try:
            part, digest = await self._written(name, suffix, size, chunks)
            return await run_in_threadpool(self._admit, part, digest, name, suffix, size)
        except ClientDisconnect:
            raise RefusedError(400, f"{name}: the upload broke off.") from None
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            log.error("an upload could not be stored: %s", error)
            reason = "the server's disk is full" if full else "the server cannot store it"
            raise RefusedError(507 if full else 500, f"{name}: {reason}. Tell whoever runs it.") from error
        finally:
            if part is not None:
                part.unlink(missing_ok=True)
            with self._lock:
                self._coming.pop(ticket, None)

    async def _written(self, name: str, suffix: str, size: int, chunks: AsyncIterator[bytes]) -> tuple[Path, bytes]:
        """Path of the written file, and the SHA-256 of its content."""
        self.folder.mkdir(parents=True, exist_ok=True)
        digest, count, pending = hashlib.sha256(), 0, bytearray()

        def write(file: IO[bytes], data: bytes) -> None:
            digest.update(data)
            file.write(data)

        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=_PART, suffix=suffix, delete=False) as file:
            part = Path(file.name)
            try:
                due, least = time.monotonic() + self._limits.silence_sec, 0.0
                while (chunk := await self._next(name, chunks)) is not None:
                    count += len(chunk)
                    if count > size:
                        raise RefusedError(413, f"{name}: more came than was announced.")
                    if time.monotonic() > due:
                        if count < least + self._limits.silence_sec * _SLOWEST_BYTES_PER_SEC:
                            rate = f"{_SLOWEST_BYTES_PER_SEC // 1000} kB"
                            raise RefusedError(408, f"{name}: comes too slowly; at least {rate} a second are needed.")
                        due, least = time.monotonic() + self._limits.silence_sec, count
                    pending += chunk
                    if len(pending) >= _WRITE_BYTES:
                        await run_in_threadpool(write, file, bytes(pending))
                        pending.clear()
                await run_in_threadpool(write, file, bytes(pending))
                if count < size:
                    raise RefusedError(400, f"{name}: the upload broke off after {megabytes(count)}.")
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        return part, digest.digest()

    async def _next(self, name: str, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            return await asyncio.wait_for(anext(chunks, None), self._limits.silence_sec)
        except TimeoutError:
            raise RefusedError(408, f"{name}: nothing came for {self._limits.silence_sec:.0f} s.") from None

    def _expect(self, ticket: object, size: int, name: str) -> None:
        """Reserve room for a file that is coming; older uploads are deleted only when it has been accepted."""
        with self._lock:
            if len(self._coming) >= self._limits.uploads_at_once:
                raise RefusedError(503, "Too many uploads at once. Try again in a moment.", retry_sec=5)
            coming = sum(self._coming.values())
            staying = sum(video.size for video in self._videos.values() if self._busy(video.id))
            if staying + coming + size > self._limits.stored_bytes:
                raise _no_room(name, size)
            self.folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < coming + size + _SPARE_BYTES:
                raise RefusedError(507, f"{name}: the server's disk is full. Tell whoever runs it.")
            self._coming[ticket] = size

    def _make_room(self, size: int, name: str) -> None:
        """Delete the oldest uploads until another one fits; none where it cannot fit."""
        over = size + sum(video.size for video in self._videos.values()) - self._limits.stored_bytes
        leaving: list[Video] = []
        for video in self._videos.values():
            if over <= 0:
                break
            if not self._busy(video.id):
                over -= video.size
                leaving.append(video)
        if over > 0:  # some have become busy since
            raise _no_room(name, size)
        for video in leaving:
            self._delete(self._videos.pop(video.id))

    def _admit(self, part: Path, digest: bytes, name: str, suffix: str, size: int) -> Video:
        facts = self._probers.facts(part)
        if facts["status"] != "ok":
            reason = for_visitors(facts["reason"], part, name).rstrip(".")
            raise RefusedError(422, f"{name} cannot be used: {reason}. Try another file.")
        if facts["duration_sec"] > self._limits.max_minutes * 60:
            raise RefusedError(
                422,
                f"{name} lasts {facts['duration_sec'] / 60:.0f} minutes; uploads of up to {self._limits.max_minutes:g} "
                "minutes are taken. Cut it.",
            )
        id = video_id(digest)
        with self._lock:
            known = self._videos.get(id)
            if known is not None and known.path.is_file():
                path = known.path
            else:  # new, or its file was deleted from outside
                self._videos.pop(id, None)
                self._make_room(size, name)
                path, known = self.folder / f"{id}{suffix}", None
            note = path.with_suffix(".json")
            try:
                write_json(note, {"name": name, "file": path.name})
                if known is None:
                    part.replace(path)
            except OSError:
                if known is None:
                    note.unlink(missing_ok=True)
                raise
            self._videos.pop(id, None)
            video = self._videos[id] = Video(id, name, path, size, uploaded=True)  # the latest
        return video

    def _stored(self) -> list[Video]:
        """Uploads of earlier servers, the oldest first; deletes the rest of broken ones."""
        videos: list[tuple[float, Video]] = []
        for path in sorted(self.folder.glob("*")) if self.folder.is_dir() else ():
            try:
                facts = path.stat()
                if path.name.startswith(_PART) and time.time() - facts.st_mtime > _STALE_SEC:
                    path.unlink(missing_ok=True)
                if path.suffix not in MEDIA_TYPES or path.name.startswith(_PART):
                    continue
                name = str(load_json(path.with_suffix(".json").read_bytes())["name"])
                videos.append((facts.st_mtime, Video(path.stem, shown_name(name), path, facts.st_size, uploaded=True)))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s: ignored, since it cannot be read (%s)", path, error)
        return [video for _, video in sorted(videos, key=lambda entry: entry[0])]

    def _delete(self, video: Video) -> None:
        self._forget(video.path)
        video.path.unlink(missing_ok=True)
        video.path.with_suffix(".json").unlink(missing_ok=True)


def _no_room(name: str, size: int) -> RefusedError:
    return RefusedError(507, f"{name}: there is no room for {megabytes(size)}. Remove an uploaded video first.")
