"""Answers from existing features: one question at a time, in their order."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool

from vmr.locate.answers import Answer, Curve
from vmr.locate.videos import VideoAnswers
from vmr.serve.library import Video
from vmr.serve.limits import RefusedError

# Most steps of the curve for a page: it has few pixels, and all steps of a long video are megabytes.
_MOST_STEPS = 1000


class Answering:
    """Puts questions to a locator."""

    def __init__(self, locator: VideoAnswers, *, most: int) -> None:
        self._locator, self._most, self._waiting = locator, most, 0
        # One thread: a question uses all cores, and two at once would be slower.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vmr-answers")

    async def ask(self, video: Video, query: str, *, top: int, across: bool = False) -> Answer | None:
        """The answer, which calls the video by its id; None without existing features.

        Args:
            across: see `VideoAnswers.locate_all`.

        Raises:
            RefusedError: too many questions wait.
            VmrError: the question or the video cannot be used.
        """
        if self._waiting >= self._most:
            raise RefusedError(503, "Too many questions at once. Try again in a few seconds.", retry_sec=2)
        self._waiting += 1  # only the event loop's thread comes here
        try:
            features = await run_in_threadpool(self._locator.at_hand, video.path)
            if features is None:
                return None
            answer = partial(self._locator.answer, query, features, video=video.id, top=top, across=across)
            return await asyncio.get_running_loop().run_in_executor(self._thread, answer)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Drop the waiting questions."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def plain(answer: Answer, video: Video) -> dict[str, Any]:
    """An answer for the page, with a thinned curve."""
    return {**answer.plain(), "video": video.name, "curve": thinned(answer.curve, most=_MOST_STEPS).plain(digits=5)}


def thinned(curve: Curve, *, most: int) -> Curve:
    """The curve with at most so many steps; each has the highest values of those that it replaces, to keep peaks."""
    steps = len(curve.start_sec)
    if steps <= most:
        return curve
    begins = np.linspace(0, steps, most, endpoint=False).astype(int)
    ends = np.append(begins[1:], steps)
    return Curve(
        start_sec=curve.start_sec[begins],
        end_sec=curve.end_sec[ends - 1],
        shares={name: np.maximum.reduceat(values, begins) for name, values in curve.shares.items()},
    )
