"""The answer to a query on a video, as plain values; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Moment:
    """A moment of a video that a query may mean."""

    start_sec: float
    end_sec: float
    # the larger the better, such as P_start * P_end; for long videos made comparable between stretches
    # (`vmr.locate.stretches`). Do not compare scores of different queries or videos.
    score: float


@dataclass(frozen=True)
class Matched:
    """An action of Kinetics that a query names."""

    action: str
    similarity: float  # cosine of the two sentences' vectors
    probability: float  # that it takes place, the highest of all steps


@dataclass(frozen=True)
class Curve:
    """What the network says of every step."""

    start_sec: Float[np.ndarray, N]  # start of each step in seconds
    end_sec: Float[np.ndarray, N]
    # values for the steps by name, as the method has them: `inside` is the probability that the step lies inside the
    # moment; others, such as `start` and `end`, sum to 1 over the steps
    shares: dict[str, Float[np.ndarray, N]]

    def plain(self, *, digits: int = 4) -> dict[str, list[float]]:
        """As lists of rounded numbers, for JSON."""
        columns = {"start_sec": self.start_sec, "end_sec": self.end_sec, **self.shares}
        return {name: [round(float(value), digits) for value in values] for name, values in columns.items()}


@dataclass(frozen=True)
class Answer:
    """The moments of a video that a query may mean, best first."""

    video: str
    query: str
    duration_sec: float  # seconds of the video that the network saw
    moments: list[Moment]
    curve: Curve
    stretches: int = 1  # number of stretches that a long video was cut into; 1: none
    unknown_words: list[str] = field(default_factory=list)  # words of the query without a vector
    left_out_words: list[str] = field(default_factory=list)  # words beyond the limit of the network
    method: str = ""  # what answered, as tables call it
    refused: str = ""  # why there is no moment, in words
    confidence: float | None = None  # highest probability of what was asked for at any step; None: the method has none
    matched: list[Matched] = field(default_factory=list)  # actions that the query was taken for
    learned_from: str = ""  # what the method was trained on, in words
    unseen_words: list[str] | None = None  # words that training never had; None: nobody knows

    def plain(self, *, curve: bool = False) -> dict[str, Any]:
        """Plain values, for JSON; with the long curve only where `curve` is True."""
        values = {name: _rounded(value) for name, value in asdict(self).items() if name != "curve"}
        if curve:
            values["curve"] = self.curve.plain()
        return values

    def rows(self) -> Iterator[Hit]:
        """The moments, each with its video."""
        return (Hit(self.video, self.query, rank, moment) for rank, moment in enumerate(self.moments, start=1))


@dataclass(frozen=True)
class Hit:
    """A moment with the video that it lies in, and its place in the answer."""

    video: str
    query: str
    rank: int
    moment: Moment


@dataclass(frozen=True)
class Search:
    """The moments of many videos that a query may mean, best first."""

    query: str
    videos: int  # number of videos that were looked at
    hits: list[Hit]
    method: str
    refused: str = ""  # why there is no moment, in words
    matched: list[Matched] = field(default_factory=list)  # as of an answer, probabilities the highest of all videos
    learned_from: str = ""
    unseen_words: list[str] | None = None

    def plain(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = {name: _rounded(value) for name, value in asdict(self).items() if name != "hits"}
        return values | {"moments": [{"video": hit.video, **_rounded(asdict(hit.moment))} for hit in self.hits]}

    def rows(self) -> Iterator[Hit]:
        """The moments, each with its video."""
        return iter(self.hits)


def best_of(answers: Sequence[Answer], *, top: int) -> Search:
    """One ranked list out of the answers of several videos to one query, at least one."""
    pairs = [(answer.video, moment) for answer in answers for moment in answer.moments]
    pairs.sort(key=lambda pair: -pair[1].score)
    surest = max(answers, key=lambda answer: answer.confidence or 0.0)
    return Search(
        query=surest.query,
        videos=len(answers),
        hits=[Hit(video, surest.query, rank, moment) for rank, (video, moment) in enumerate(pairs[:top], start=1)],
        method=surest.method,
        refused="" if pairs else surest.refused,
        matched=surest.matched,
        learned_from=surest.learned_from,
        unseen_words=surest.unseen_words,
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return {name: _rounded(each) for name, each in value.items()} if isinstance(value, dict) else value


def shown_score(score: float) -> str:
    """A score for people.

    >>> shown_score(0.9731), shown_score(0.004)
    ('0.97', '< 0.01')
    """
    return f"{score:.2f}" if score >= 0.01 else "< 0.01"


def one_line(text: str) -> str:
    r"""A sentence or a name where an end of line has a meaning of its own.

    >>> one_line("a man walks\n\nhis dog")
    'a man walks his dog'
    """
    return " ".join(text.split())


def clock(seconds: float) -> str:
    """Seconds as a player shows them, with tenths.

    >>> clock(5.25), clock(3725.0)
    ('0:05.2', '1:02:05.0')
    """
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest / 10:04.1f}"
