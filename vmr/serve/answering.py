"""Answers from features that are at hand: one at a time through the network, in the order of the questions."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool

from vmr.features.store import VideoFeatures
from vmr.locate.answers import Answer, Curve
from vmr.locate.locator import Locator
from vmr.serve.library import Video
from vmr.serve.limits import RefusedError

# Steps of the curve that a page gets: more than it has pixels for would be megabytes for a long video.
_MOST_STEPS = 1000


class Answering:
    """Puts questions to a locator.

    Args:
        locator: answers.
        most: questions that may wait.
    """

    def __init__(self, locator: Locator, *, most: int) -> None:
        self._locator, self._most, self._waiting = locator, most, 0
        # One thread: the network's matrices take all cores anyhow, and two at once would be slower than one by one.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vmr-answers")

    async def ask(self, video: Video, query: str, *, top: int) -> dict[str, Any] | None:
        """The answer as plain values; None where the features are not at hand.

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
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._answer, video, query, features, top)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Answer what waits no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _answer(self, video: Video, query: str, features: VideoFeatures, top: int) -> dict[str, Any]:
        answer = self._locator.answer(query, features, video=video.name, top=top)
        return plain(answer)


def plain(answer: Answer) -> dict[str, Any]:
    """An answer as the page takes it, the curve thinned."""
    return {**answer.plain(), "curve": thinned(answer.curve, most=_MOST_STEPS).plain(digits=5)}


def thinned(curve: Curve, *, most: int) -> Curve:
    """At most so many steps, each with the highest values of those that it stands for: peaks must stay."""
    steps = len(curve.start_sec)
    if steps <= most:
        return curve
    begins = np.linspace(0, steps, most, endpoint=False).astype(int)
    ends = np.append(begins[1:], steps)

    return Curve(
        start_sec=curve.start_sec[begins],
        end_sec=curve.end_sec[ends - 1],
        start=np.maximum.reduceat(curve.start, begins),
        end=np.maximum.reduceat(curve.end, begins),
        inside=None if curve.inside is None else np.maximum.reduceat(curve.inside, begins),
    )
