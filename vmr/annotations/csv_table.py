"""A CSV as people write it: names of columns, delimiters, quotes and times."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmr.annotations.parsed import read_bytes
from vmr.errors import AnnotationError
from vmr.names import VIDEO_EXTENSIONS

logger = logging.getLogger(__name__)

# What a column may be called, in small letters and with _ for blanks and hyphens; the first name is the one in errors.
COLUMNS = {
    "video": ("video", "video_id", "video_name", "clip", "file", "filename", "file_name"),
    "start": ("start", "start_sec", "start_time", "begin", "from"),
    "end": ("end", "end_sec", "end_time", "stop", "to"),
    "sentence": ("sentence", "query", "description", "caption", "text"),
    "query_id": ("query_id", "qid", "sentence_id"),
    "duration": ("duration", "duration_sec", "video_duration", "length"),
    "split": ("split", "subset"),
}
REQUIRED = ("video", "start", "end", "sentence")
DELIMITERS = (",", ";", "\t")
_SECONDS = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:\.\d*)?)", re.ASCII)


@dataclass(frozen=True)
class Row:
    """A row below the header.

    Attributes:
        line: number of its first line, from 1.
        values: by known column; empty where the row has not as many values as the header.
    """

    line: int
    values: dict[str, str]

    @property
    def video_id(self) -> str:
        """The name of the video file; its extension may be there or not."""
        name = self.values.get("video", "")
        stem, dot, extension = name.rpartition(".")
        return stem if stem and f"{dot}{extension.lower()}" in VIDEO_EXTENSIONS else name


@dataclass(frozen=True)
class Table:
    """Content of a CSV.

    Attributes:
        path: the file.
        columns: known columns of its header.
        rows: in the order of the file, without blank ones.
        width: values that a row has.
        decimal_comma: whether a comma may stand for the point of a number.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[Row]
    width: int
    decimal_comma: bool

    def time(self, text: str) -> float:
        """Seconds of a cell, see `parse_time`.

        Raises:
            ValueError: it is no time.
        """
        # Spreadsheets of countries with decimal commas part columns by semicolons.
        return parse_time(text.replace(",", ".", 1) if self.decimal_comma else text)


def read_table(path: Path) -> Table:
    """Read a CSV with a header in which the columns of `REQUIRED` are named; commas, semicolons or tabs.

    Raises:
        AnnotationError: the file is missing, no CSV, has no rows, or its header lacks a column or has it twice.
    """
    # Undecodable bytes become lone surrogates, so that they cost one sentence and not the file.
    text = read_bytes(path).decode("utf-8", errors="surrogateescape")
    delimiter = _delimiter(text, path)
    records = _records(text, delimiter, path)
    line, names = next(records, (1, []))
    columns = [column_of(name) for name in names]
    _check_header(f"{path}:{line}", names, columns, hint=_other_format(text))
    rows = []
    for line, fields in records:
        pairs = zip(columns, fields, strict=True) if len(fields) == len(columns) else ()
        rows.append(Row(line, {column: field.strip() for column, field in pairs if column}))
    if not rows:
        raise AnnotationError(f"{path}: has a header but no rows; one for each sentence was expected.")
    if unused := [name for name, column in zip(names, columns, strict=True) if column is None]:
        logger.info("%s: columns that are not used: %s", path, ", ".join(unused))
    return Table(path, tuple(column for column in columns if column), rows, len(names), delimiter != ",")


def parse_time(text: str) -> float:
    """Seconds of a time as people write it.

    Args:
        text: seconds, ``m:ss`` or ``h:mm:ss``, with fractions of a second after a point.

    Raises:
        ValueError: it is none of these.

    >>> parse_time("83.5"), parse_time("1:23.5"), parse_time("1:00:05")
    (83.5, 83.5, 3605.0)
    """
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if parts := _CLOCK.fullmatch(text):
        hours, minutes, seconds = int(parts[1] or 0), int(parts[2]), float(parts[3])
        if seconds < 60 and (parts[1] is None or minutes < 60):
            return 3600 * hours + 60 * minutes + seconds
    raise ValueError(f"{text!r} is no time; seconds (83.5), m:ss (1:23.5) or h:mm:ss (0:01:23.5) was expected")


def column_of(name: str) -> str | None:
    """The known column that a name of a header means, or None.

    >>> column_of("Start time"), column_of("notes")
    ('start', None)
    """
    plain = re.sub(r"[\s-]+", "_", name.strip().lower())
    return next((column for column, names in COLUMNS.items() if plain in names), None)


def _delimiter(text: str, path: Path) -> str:
    header = next(iter(text.lstrip().splitlines()), "")
    try:
        return max(
            DELIMITERS, key=lambda one: sum(map(bool, map(column_of, next(csv.reader([header], delimiter=one)))))
        )
    except csv.Error as error:
        raise AnnotationError(
            f"{path}: a CSV with a header of the columns {', '.join(REQUIRED)} was expected; its first line cannot be "
            f"read ({error}).{_other_format(text)}"
        ) from error


def _other_format(text: str) -> str:
    """What to do about content that looks like another format; empty where it does not."""
    begin = text.lstrip()[:1000]
    if begin.startswith(("{", "[")):
        return f" It begins with {begin[0]}, as JSON does: is `annotation_format: activitynet_captions` meant?"
    if "##" in begin.partition("\n")[0]:
        return " Its first line has ##: is `annotation_format: charades_sta` meant?"
    return ""


def _records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    begin = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield begin, fields
            begin = reader.line_num + 1
    except csv.Error as error:
        raise AnnotationError(
            f"{path}:{begin}: not a row of a CSV ({error}).{_other_format(text)} A sentence with commas or line breaks "
            'stands in quotes, and a quote inside of those is written twice (""). Correct the row.'
        ) from error


def _check_header(where: str, names: Sequence[str], columns: Sequence[str | None], *, hint: str) -> None:
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise AnnotationError(
            f"{where}: a header with the columns {', '.join(REQUIRED)} was expected; {', '.join(missing)} not found in "
            f"{', '.join(names)[:200]!r}. `{missing[0]}` may also be called {', '.join(COLUMNS[missing[0]][1:])}."
            f"{hint}"
        )
    for column, count in Counter(columns).items():
        if column and count > 1:
            twice = [name for name, own in zip(names, columns, strict=True) if own == column]
            raise AnnotationError(f"{where}: {' and '.join(twice)} both mean {column}. Rename or remove one of them.")
