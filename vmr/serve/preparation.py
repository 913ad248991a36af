"""Features of new videos, made one video at a time in a thread of their own."""

import contextlib
import logging
import os
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmr.errors import VmrError
from vmr.locate.extraction import Progress
from vmr.serve.library import Video
from vmr.serve.limits import RefusedError, for_visitors

log = logging.getLogger(__name__)

_REMEMBERED = 256
_NICE = 5
_END_SEC = 10.0


@dataclass
class Job:
    """The work on the features of one video."""

    video: Video
    # hard to guess, for the pages that ask for its progress
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    state: str = "waiting"  # ``waiting``, ``running``, ``done``, ``failed`` or ``stopped``
    what: str = "waiting"
    done: int = 0  # the part of the current step that is done, of `total`; 0: unknown
    total: int = 0
    error: str = ""  # why the work failed, for visitors
    asked: int = 1  # number of pages that wait for it


class _StoppedError(Exception):
    """No page waits for the features any more."""


class Preparation:
    """A queue of videos and the one thread that makes their features."""

    def __init__(self, make: Callable[[Path, Progress], object], *, most: int) -> None:
        self._make, self._most = make, most
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="vmr-features", daemon=True)
        self._thread.start()

    def ask(self, video: Video) -> Job:
        """The job that makes the features of a video: an unfinished one or a new one.

        Raises:
            RefusedError: too many videos wait.
        """
        with self._changed:
            for job in self._pending():
                if job.video.path == video.path:
                    job.asked += 1
                    return job
            if len(self._waiting) >= self._most:
                raise RefusedError(
                    503, f"{len(self._waiting)} videos are waiting already. Try again in a few minutes.", retry_sec=60
                )
            job = Job(video)
            self._waiting.append(job)
            self._jobs[job.id] = job
            for old in [old for old, job in self._jobs.items() if job not in self._pending()][:-_REMEMBERED]:
                del self._jobs[old]
            self._changed.notify()
            return job

    def plain(self, id: str) -> dict[str, Any]:
        """The progress of a job.

        Raises:
            RefusedError: it is unknown.
        """
        with self._changed:
            job = self._known(id)
            before = self._pending().index(job) if job.state == "waiting" else 0
            shown = {name: getattr(job, name) for name in ("id", "state", "what", "done", "total", "error")}
            return {**shown, "video": job.video.id, "before": before}

    def stop(self, id: str) -> None:
        """Let one page stop waiting for a job; the job ends when no page waits.

        Raises:
            RefusedError: it is unknown.
        """
        with self._changed:
            job = self._known(id)
            job.asked -= 1
            if job.asked <= 0 and job.state == "waiting":
                self._waiting.remove(job)
                job.state = "stopped"

    def busy(self, video: str) -> bool:
        """Whether a video waits or its features are being made."""
        with self._changed:
            return any(job.video.id == video for job in self._pending())

    def close(self) -> None:
        """Drop the waiting jobs, and end the running one at its next report of progress."""
        with self._changed:
            self._closing = True
            self._waiting.clear()
            self._changed.notify()
        self._thread.join(_END_SEC)

    def _pending(self) -> list[Job]:
        return [*([self._running] if self._running else []), *self._waiting]

    def _known(self, id: str) -> Job:
        if id not in self._jobs:
            raise RefusedError(404, "The server does not know this job any more. Ask again.")
        return self._jobs[id]

    def _work(self) -> None:
        # Answers have priority: on Linux each thread has a niceness, which torch's threads inherit from this one.
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._waiting)
                if self._closing:
                    return
                job = self._running = self._waiting.popleft()
                job.state = "running"
            state, error = self._outcome(job)
            with self._changed:
                job.state, job.error = state, error
                self._running = None

    def _outcome(self, job: Job) -> tuple[str, str]:
        def progress(what: str, done: int, total: int) -> None:
            if self._closing or job.asked <= 0:
                raise _StoppedError
            job.what, job.done, job.total = what, done, total

        try:
            self._make(job.video.path, progress)
        except _StoppedError:
            return "stopped", ""
        except VmrError as error:
            return "failed", for_visitors(error, job.video.path, job.video.name)
        except Exception:
            log.exception("features of %s could not be made", job.video.path)
            return "failed", f"{job.video.name}: something went wrong here; the server's log has the reason."
        return "done", ""
