"""What a reader of one annotation file hands on, and the checks that all formats share."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from vmr.errors import AnnotationError


@dataclass(frozen=True)
class Query:
    """One sentence about one span of a video."""

    key: str  # unique within its file: the line number, or the video and the index of the sentence
    where: str  # for messages: file:line, or file: video[index]
    video_id: str
    start_sec: float
    end_sec: float
    sentence: str


@dataclass(frozen=True)
class Problem:
    """Something in a file that is not used, and why."""

    where: str
    reason: str

    def __post_init__(self) -> None:
        """Make both printable: they are written to logs and lists, which bytes that are no UTF-8 would end."""
        for name in ("where", "reason"):
            object.__setattr__(self, name, printable(getattr(self, name)))


@dataclass
class ParsedFile:
    """Content of one annotation file."""

    lines: int = 0  # sentences found, usable or not
    queries: list[Query] = field(default_factory=list)
    degenerate: list[Query] = field(default_factory=list)  # start >= end
    malformed: list[Problem] = field(default_factory=list)
    durations: dict[str, float] = field(default_factory=dict)

    def add(self, query: Query) -> None:
        """Take a query, or put it on the list of degenerate or malformed ones.

        Raises:
            AnnotationError: the video id could escape from a folder; that is no slip of the pen.
        """
        if reason := video_id_reason(query.video_id):
            raise AnnotationError(
                f"{query.where}: {reason}. An id is the name of the video file without its extension; correct the "
                "annotations."
            )
        reason = _malformed_reason(query)
        if reason:
            self.malformed.append(Problem(query.where, reason))
        elif query.start_sec >= query.end_sec:
            self.degenerate.append(query)
        else:
            self.queries.append(query)


def read_bytes(path: Path) -> bytes:
    """Bytes of an annotation file without a UTF-8 byte order mark.

    Raises:
        AnnotationError: the file is missing, unreadable, empty, or in UTF-16.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise AnnotationError(
            f"{path}: no such annotation file. Put it there or correct the path in config.yaml; docs/data.md says "
            "where the files come from."
        ) from error
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error}). An annotation file was expected.") from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise AnnotationError(f"{path}: is encoded in UTF-16; UTF-8 was expected. Save it as UTF-8.")
    content = content.removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise AnnotationError(f"{path}: is empty; annotations were expected. Fetch it again.")
    return content


def clean_sentence(text: str) -> str:
    r"""Sentence with every run of white space made one blank, so that it fits on one line.

    >>> clean_sentence(" A man\n walks. ")
    'A man walks.'
    """
    return " ".join(text.split())


def printable(text: str) -> str:
    r"""Text with undecodable bytes, which `read_bytes` leaves as lone surrogates, as escapes.

    >>> printable("caf\udce9")
    'caf\\udce9'
    """
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def video_id_reason(video_id: str) -> str:
    """Why an id cannot name a video, or an empty string; ids become names of files and of HDF5 groups.

    >>> video_id_reason("3MSZA")
    ''
    >>> video_id_reason("../secret")
    "the video id '../secret' contains a slash"
    """
    if video_id in {"", ".", ".."}:
        return f"the video id {video_id!r} cannot name a video"
    if "/" in video_id:
        return f"the video id {video_id!r} contains a slash"
    if _unprintable(video_id):
        return f"the video id {video_id!r} contains control characters or undecodable bytes"
    return ""


def finite_or_none(value: object) -> float | None:
    """A JSON number as a finite float; None for anything else (booleans, text, NaN, infinity)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _malformed_reason(query: Query) -> str:
    if not math.isfinite(query.start_sec) or not math.isfinite(query.end_sec):
        return f"start and end must be finite numbers, not {query.start_sec} and {query.end_sec}"
    if query.start_sec < 0 or query.end_sec < 0:
        return f"negative time: {query.start_sec} to {query.end_sec} s"
    if not query.sentence:
        return "the sentence is empty"
    if _unprintable(query.sentence):
        return "the sentence contains control characters or undecodable bytes"
    if _unprintable(query.key):
        return f"the id {query.key!r} of the query contains control characters or undecodable bytes"
    return ""


def _unprintable(text: str) -> bool:
    return any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in text)
