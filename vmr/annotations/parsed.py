"""What a reader of one annotation file hands on, and the checks that all formats share."""

import gzip
import math
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vmr.errors import AnnotationError, VmrError
from vmr.video_ids import plain_name, settle

_SHOWN = 5  # faults that an error lists
_FEW = 0.1  # share of the sentences that may be left out for the names of their videos, as in the doctor's checks
_SAVE_AS = 'Save it as "CSV UTF-8" (comma or semicolon), and name that file.'
# How files begin that are no text, and what they are.
NO_TEXT = {
    b"PK\x03\x04": "a workbook of Excel or OpenOffice (.xlsx, .ods), or another zip archive",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel (.xls)",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "an array of NumPy",
    b"PAR1": "a Parquet file",
    b"MATLAB": "a file of MATLAB",
    b"<html": "a page in HTML (as some programs write .xls)",
    b"{\\rtf": "a document in RTF (as TextEdit saves)",
    b"<table": "a page in HTML (as some programs write .xls)",
    **{b"\x80" + bytes([version]): "a pickle of Python" for version in range(2, 6)},
}
_NO_SENTENCE = {"nan", "none", "null", "n/a", "na", "#n/a", "<na>"}
Window = tuple[float, float]  # start and end in seconds


@dataclass(frozen=True)
class Query:
    """One sentence about a moment of a video.

    A sentence that is true of several windows has all of them in `windows`, and the longest one (the first of equally
    long ones) as its span: that one is trained on. With a single window, `windows` is empty.
    """

    key: str  # unique within its file: the line number, or the video and the index of the sentence
    where: str  # for messages: file:line, or file: video[index]
    video_id: str
    start_sec: float
    end_sec: float
    sentence: str
    windows: tuple[Window, ...] = ()
    number: int = 0  # its place in the file, usable or not
    is_named: bool = False  # whether the file itself gives the key


def question(key: str, where: str, video_id: str, sentence: str) -> Query:
    """A sentence whose times nobody needs to know: about the first second of its video."""
    return Query(key, where, video_id, 0.0, 1.0, clean_sentence(sentence))


def query_of(key: str, where: str, video_id: str, windows: Sequence[Window], sentence: str, *, is_named: bool) -> Query:
    """A query about one window or several; windows without length are left out where others have one."""
    usable = tuple(dict.fromkeys((start, end) for start, end in windows if start < end))
    start, end = max(usable or windows[:1], key=lambda one: one[1] - one[0])
    return Query(key, where, video_id, start, end, sentence, usable if len(usable) > 1 else (), is_named=is_named)


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
        """Take a query, or put it on the list of degenerate or malformed ones."""
        query = replace(query, number=self.lines)
        reason = video_id_reason(query.video_id) or _malformed_reason(query)
        if reason:
            self.malformed.append(Problem(query.where, reason))
        elif query.start_sec >= query.end_sec:
            self.degenerate.append(query)
        else:
            self.queries.append(query)

    def take_duration(self, video_id: str, seconds: float, *, where: str, written: str = "") -> None:
        """Take the duration of a video; one that is none, or contradicts an earlier one, is a problem."""
        if not 0 < seconds < math.inf:
            reason = f"the length {written!r} of {video_id} is not a number of seconds above 0; taken as unknown"
            self.malformed.append(Problem(where, reason))
        elif (kept := self.durations.setdefault(video_id, seconds)) != seconds:
            self.malformed.append(Problem(where, f"{video_id} lasts {seconds} s here but {kept} s before; {kept} kept"))

    def refuse_nothing(self, path: Path, expected: str) -> None:
        """Refuse a file of which nothing can be used, with the faults found, one line a kind.

        Raises:
            AnnotationError: there is neither a usable query nor a degenerate one.
        """
        if self.queries or self.degenerate:
            return
        raise AnnotationError(
            f"{path}: not {expected}{faults_told(self.malformed)}. Check annotation_format and the file."
        )


def faults_told(problems: Sequence[Problem]) -> str:
    """The first few faults, each with its place, and how many more there are; begins with a semicolon."""
    shown = "".join(f"; {one.where}: {one.reason}" for one in problems[:_SHOWN])
    return shown + (f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else "")


def settle_video_ids(files: Iterable[ParsedFile]) -> None:
    """Give the videos of a dataset their ids (`vmr.video_ids`), whatever its files call them.

    Sentences about a second file of one name are put on the list of malformed ones.

    Raises:
        AnnotationError: these are more than a tenth: folders tell the videos apart.
    """
    files = list(files)
    queries = [query for file in files for query in [*file.queries, *file.degenerate]]
    ids, refused = settle(
        [
            *(query.video_id for query in queries),
            *(name for file in files for name in file.durations if not video_id_reason(name)),
        ]
    )
    left_out = [query for query in queries if query.video_id in refused]
    if len(left_out) > _FEW * len(queries):
        raise AnnotationError(f"{left_out[0].where}: {refused[left_out[0].video_id]}.")

    def settled(query: Query) -> Query:
        own, key = ids[query.video_id], query.key
        if key.startswith(f"{query.video_id}:"):
            key = f"{own}{key.removeprefix(query.video_id)}"
        return replace(query, video_id=own, key=key)

    for file in files:
        file.malformed += [
            Problem(query.where, refused[query.video_id])
            for query in [*file.queries, *file.degenerate]
            if query.video_id in refused
        ]
        file.queries = [settled(query) for query in file.queries if query.video_id in ids]
        file.degenerate = [settled(query) for query in file.degenerate if query.video_id in ids]
        durations: dict[str, float] = {}
        for name, seconds in file.durations.items():
            if name in ids:
                durations.setdefault(ids[name], seconds)
        file.durations = durations


def read_bytes(path: Path) -> bytes:
    """Bytes of an annotation file in UTF-8 without byte order mark, also where it is in UTF-16 or packed by gzip.

    Raises:
        AnnotationError: the file is missing, unreadable, empty, or no text.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise AnnotationError(
            f"{path}: no such annotation file. Put it there or correct its path; docs/data.md has the sources."
        ) from error
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error}). An annotation file was expected.") from error
    content = unpacked(content, path, AnnotationError)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # as Excel saves "Unicode text"
        try:
            content = content.decode("utf-16").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise AnnotationError(f"{path}: begins as UTF-16 but is not ({error}). Save it as UTF-8.") from error
    for begin, what in NO_TEXT.items():
        if content.startswith(begin):
            raise AnnotationError(f"{path}: is {what}; a text file was expected. {_SAVE_AS}")
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in content[:4] and content[:4].replace(b"\0", b"").decode("ascii", "replace").isprintable():
        raise AnnotationError(f"{path}: has zero bytes, as UTF-16 without its mark and UTF-32 have. {_SAVE_AS}")
    if not content.strip():
        raise AnnotationError(f"{path}: is empty; annotations were expected. Make or copy it again.")
    return content


def unpacked(content: bytes, path: Path, refusal: type[VmrError]) -> bytes:
    """Content of a file, also where it is packed by gzip."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise refusal(f"{path}: cannot be unpacked as gzip ({error}). Copy it again.") from error


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
    """Why a name cannot be that of a video, or an empty string; ids become names of files and of HDF5 groups.

    >>> video_id_reason("videos/3MSZA.mp4")
    ''
    >>> video_id_reason("..")
    "the video id '..' cannot name a video"
    """
    if plain_name(video_id) in {"", ".", ".."}:
        return f"the video id {video_id!r} cannot name a video"
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
    for start, end in query.windows or ((query.start_sec, query.end_sec),):
        if not math.isfinite(start) or not math.isfinite(end):
            return f"start and end must be finite numbers, not {start} and {end}"
        if start < 0 or end < 0:
            return f"negative time: {start} to {end} s"
    if not query.sentence:
        return "the sentence is empty"
    if query.sentence.casefold() in _NO_SENTENCE:
        return f"the sentence is {query.sentence!r}, as programs write a missing one"
    if not any(unicodedata.category(letter)[0] in "LNPSM" for letter in query.sentence):
        return "the sentence has invisible characters only"
    if _unprintable(query.sentence):
        return "the sentence contains control characters or undecodable bytes"
    if _unprintable(query.key):
        return f"the id {query.key!r} of the query contains control characters or undecodable bytes"
    return ""


def _unprintable(text: str) -> bool:
    # Asked first: hardly any text has such a letter, and looking at each took a quarter of the time of parsing.
    return not text.isprintable() and any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in text)
