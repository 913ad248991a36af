"""One question to many videos, asked as `vmr locate FOLDER` does: one video after the other, one list in the end.

A search waits in the queues of questions and of videos like anybody else, so that it holds nobody up.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vmr.errors import VmrError
from vmr.locate.answers import Answer, Curve, best_of
from vmr.serve.answering import Answering
from vmr.serve.library import Video, existing
from vmr.serve.limits import RefusedError, for_visitors
from vmr.serve.preparation import Job, Preparation

log = logging.getLogger(__name__)

_REMEMBERED = 64
_TOLD = 20  # of the videos that could not be used
_POLL_SEC, _AGAIN_SEC = 0.1, 2.0  # between looks at a job; before a full queue is asked again
# By then whoever asked has closed the page. Browsers wake a page behind others once a minute.
_LEFT_SEC = 300.0
_NO_CURVE = Curve(np.empty(0), np.empty(0), {})


@dataclass
class _Search:
    videos: Sequence[Video]
    query: str
    top: int
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    state: str = "running"  # or ``done``, ``failed``, ``stopped``
    number: int = 0  # of the video that is looked at
    job: Job | None = None  # that makes its features
    error: str = ""
    found: dict[str, Any] | None = None
    failed: list[str] = field(default_factory=list)  # why videos could not be used
    seen_at: float = field(default_factory=time.monotonic)
    task: asyncio.Task[None] | None = None


class Searches:
    """Searches at work and those that ended lately. To be used in the event loop alone."""

    def __init__(self, answering: Answering, preparation: Preparation, *, most: int) -> None:
        self._answering, self._preparation, self._most = answering, preparation, most
        self._known: dict[str, _Search] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._known

    def ask(self, videos: Sequence[Video], query: str, *, top: int) -> str:
        """Begin a search of at least one video; its id.

        Raises:
            RefusedError: too many are at work.
        """
        ended = [id for id, search in self._known.items() if search.state != "running"]
        if len(self._known) - len(ended) >= self._most:
            raise RefusedError(503, "Too many searches at once. Try again in a minute.", retry_sec=60)
        for id in ended[:-_REMEMBERED]:
            del self._known[id]
        search = _Search(videos, query, top)
        self._known[search.id] = search
        search.task = asyncio.create_task(self._run(search))
        return search.id

    def plain(self, id: str) -> dict[str, Any]:
        """How far a search is, and in the end what it found."""
        search = self._known[id]
        search.seen_at = time.monotonic()
        at_work = {name: getattr(search.job, name) for name in ("what", "done", "total")} if search.job else {}
        return {
            **{name: getattr(search, name) for name in ("id", "state", "error", "found")},
            **at_work,
            "number": search.number,
            "videos": len(search.videos),
            "name": search.videos[search.number].name,
        }

    def stop(self, id: str) -> None:
        """End a search; features that were made are kept."""
        task = self._known[id].task
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """End all of them."""
        for id in self._known:
            self.stop(id)

    async def _run(self, search: _Search) -> None:
        answers: list[Answer] = []
        try:
            for number, video in enumerate(search.videos):
                search.number = number
                try:
                    answer = await self._answer(search, video)
                    answers.append(replace(answer, curve=_NO_CURVE))  # of ten thousand videos it is 100 MB
                except (RefusedError, VmrError) as error:
                    search.failed.append(for_visitors(error, video.path, video.name))
            search.state, search.error = "done", ""
            if answers:
                search.found = self._found(search, answers)
            else:
                search.state, search.error = "failed", f"No video can be used: {search.failed[0]}"
        except asyncio.CancelledError:
            search.state = "stopped"
        except Exception:
            log.exception("a search failed")
            search.state, search.error = "failed", "Something went wrong here; the server's log has the reason."

    async def _answer(self, search: _Search, video: Video) -> Answer:
        """The answer of one video, its features made before where there are none."""
        while True:
            try:
                existing(video)
                answer = await self._answering.ask(video, search.query, top=search.top, across=True)
                if answer is not None:
                    return answer
                search.job = self._preparation.ask(video)
                try:
                    while search.job.state in ("waiting", "running"):
                        await self._wait(search, _POLL_SEC)
                except asyncio.CancelledError:
                    self._preparation.stop(search.job.id)
                    raise
                if search.job.state != "done":
                    raise RefusedError(422, search.job.error or f"{video.name}: the work on it was stopped.")
            except RefusedError as error:
                if error.retry_sec is None:
                    raise
                await self._wait(search, _AGAIN_SEC)
            finally:
                search.job = None

    async def _wait(self, search: _Search, seconds: float) -> None:
        if time.monotonic() > search.seen_at + _LEFT_SEC:
            raise asyncio.CancelledError
        await asyncio.sleep(seconds)

    def _found(self, search: _Search, answers: list[Answer]) -> dict[str, Any]:
        best = best_of(answers, top=search.top)
        by_id = {video.id: video for video in search.videos}
        plain = best.plain()
        for moment in plain["moments"]:
            moment["video"] = by_id[moment["video"]].plain()
        return {**plain, "failed": search.failed[:_TOLD], "left_out": len(search.failed)}
