"""Moments of videos as files of their own: one is cut at a time."""

import asyncio
import contextlib
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from vmr.locate.drawing import cut_clip
from vmr.locate.scratch import scratch_folder
from vmr.serve.library import Video
from vmr.serve.limits import RefusedError


class Cutting:
    """Cuts moments out of videos.

    Args:
        folder: where a clip lies until it is sent.
    """

    def __init__(self, folder: Path, *, most: int) -> None:
        self._folder, self._most, self._waiting = folder, most, 0
        self._one = asyncio.Lock()  # encoding takes all cores

    async def cut(self, video: Video, start_sec: float, end_sec: float) -> Response:
        """The moment as an mp4, whose file is deleted when it is sent or the visitor leaves.

        Raises:
            RefusedError: too many wait.
            VideoError: the video cannot be cut.
        """
        if self._waiting >= self._most:
            raise RefusedError(503, "Too many moments are being cut. Try again in a minute.", retry_sec=30)
        self._waiting += 1
        kept = contextlib.ExitStack()
        try:
            async with self._one:
                path = await run_in_threadpool(self._cut, kept, video.path, start_sec, end_sec)
        except BaseException:
            kept.close()
            raise
        finally:
            self._waiting -= 1
        return _Passing(kept, path, f"{Path(video.name).stem}_{start_sec:.1f}-{end_sec:.1f}.mp4")

    def _cut(self, kept: contextlib.ExitStack, video: Path, start_sec: float, end_sec: float) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = kept.enter_context(scratch_folder(self._folder, purpose="moment")) / "moment.mp4"
        cut_clip(video, start_sec, end_sec, path)
        return path


class _Passing(FileResponse):
    def __init__(self, kept: contextlib.ExitStack, path: Path, filename: str) -> None:
        super().__init__(path, media_type="video/mp4", filename=filename)
        self._kept = kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._kept:
            await super().__call__(scope, receive, send)
