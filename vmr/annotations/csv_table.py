"""A CSV as people and spreadsheets write it: encodings, delimiters, quotes, surplus cells and units in the header."""

import csv
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vmr.annotations.columns import COLUMNS, Column, choose, column, parse_time
from vmr.annotations.parsed import read_bytes
from vmr.annotations.units import RATES
from vmr.annotations.via import VIA_HEADER, via_rows
from vmr.errors import AnnotationError

logger = logging.getLogger(__name__)

REQUIRED = ("video", "start", "end", "sentence")
DELIMITERS = (",", ";", "\t", "|")
_HALF = 2  # names of the required columns that no other line is likely to hold
_MOST_ABOVE = 20  # lines of titles and remarks above a header
_MOST_VALUES = 9  # that are kept of a column which is not used: of splits there are fewer
_THOUSANDS = re.compile(r"[1-9]\d{0,2},\d{3}", re.ASCII)
_SEPARATOR = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """A row below the header."""

    line: int  # number of its first line, from 1
    values: dict[str, str]  # by known column
    fault: str = ""  # why the row cannot be used, or nothing

    @property
    def video_id(self) -> str:
        """The name of the video as it is written."""
        return re.sub(r"\.eaf$", "", self.values.get("video", ""))  # ELAN names its document instead


@dataclass(frozen=True)
class Table:
    """Content of a CSV."""

    path: Path
    columns: Mapping[str, Column]  # known columns of its header
    rows: list[Row] = field(default_factory=list)  # in the order of the file, without blank ones
    unused: Mapping[str, frozenset[str]] = field(default_factory=dict)  # the first values of columns of other names

    def time(self, row: Row, name: str) -> float:
        """Seconds of a cell, see `parse_time`.

        Raises:
            ValueError: it is no time.
        """
        try:
            fps = parse_time(row.values["fps"]) if row.values.get("fps") else None
        except ValueError:
            fps = None
        return parse_time(row.values[name], unit=self.columns[name].unit, fps=fps)


def read_table(path: Path, *, required: Sequence[str] = REQUIRED) -> Table:
    """Read a CSV whose header names the required columns; commas, semicolons, tabs or bars.

    Raises:
        AnnotationError: the file is missing, no CSV, in another encoding, has no rows, or its header lacks a column or
            has it twice.
    """
    text = read_text(path)
    if VIA_HEADER in text[:10_000]:
        via = [Row(line, dict(zip(REQUIRED, values, strict=True)), fault) for line, values, fault in via_rows(text)]
        return Table(path, {name: Column(name, 0) for name in REQUIRED}, via)
    first_line = 1
    if separator := _SEPARATOR.match(text):
        text, first_line = text[separator.end() :], 2
    above = lines_above_header(text)
    if above:
        logger.warning("%s: the %d lines above the header are not read", path, above)
        text, first_line = "".join(text.splitlines(keepends=True)[above:]), first_line + above
    delimiter = separator[1] if separator else _delimiter(text)
    chosen: dict[str, tuple[str, Column]] = {}  # none, as long as the header is not read
    place: dict[str, int] = {}

    def is_row(line: str) -> bool:
        cells = _without_surplus(cells_of(line, delimiter), len(names))
        times = [cells[place[own]] for own in ("start", "end") if own in place] if len(cells) == len(names) else []
        return bool(times) and all(map(_is_time, times))

    records = _records(text, delimiter, first_line, is_row)
    line, names, fault = next(records, (1, [], ""))
    if fault:
        raise AnnotationError(
            f"{path}: a CSV with a header of the columns {', '.join(required)} was expected; its first line cannot be "
            f"read ({fault}).{_other_format(text)}"
        )
    names = _without_surplus(names, 0)
    chosen = choose(names)
    _check_header(f"{path}:{line}", names, chosen, required, hint=_other_format(text))
    place = {name: names.index(written) for name, (written, _) in chosen.items()}
    others = {name: names.index(name) for name in names if name.strip() and names.index(name) not in place.values()}
    unused: dict[str, set[str]] = {name: set() for name in others}
    rows = []
    for line, cells, fault in records:
        cells = _without_surplus(cells, len(names))
        if not fault and len(cells) != len(names):
            fault = (
                f"as many values as the header has ({len(names)}) were expected, found {len(cells)}; a sentence with "
                "commas, or a time with a decimal comma, stands in quotes"
            )
        values = {} if fault else {name: cells[index].strip() for name, index in place.items()}
        rows.append(Row(line, values, fault))
        for name, own in unused.items() if values else ():
            if len(own) < _MOST_VALUES:
                own.add(cells[others[name]].strip())
    if delimiter == ",":
        _refuse_thousands(path, rows)
    if not rows:
        raise AnnotationError(f"{path}: has a header but no rows; one for each sentence was expected.")
    if unused:
        logger.info("%s: columns that are not used: %s", path, ", ".join(unused))
    meant = {name: found for name, (_, found) in chosen.items()}
    return Table(path, meant, rows, {name: frozenset(own) for name, own in unused.items()})


def read_text(path: Path) -> str:
    """Text of a table; bytes that are no UTF-8 in a file that otherwise is become lone surrogates, a fault of one row.

    Raises:
        AnnotationError: the file is in a code page, as Excel saves "CSV".
    """
    content = read_bytes(path)
    text = content.decode("utf-8", errors="surrogateescape")
    strange = [place for place, letter in enumerate(text) if "\udc80" <= letter <= "\udcff"]
    if strange and len(strange) >= sum(letter > "\x7f" for letter in text) / 2:
        line = text.count("\n", 0, strange[0]) + 1
        begin = max(text.rfind("\n", 0, strange[0]) + 1, strange[0] - 20)
        shown = text[begin : strange[0] + 12].splitlines()[0].encode("utf-8", "surrogateescape")
        raise AnnotationError(
            f"{path}: is no UTF-8: line {line} has the byte 0x{ord(text[strange[0]]) - 0xDC00:02x}, "
            f'in code page 1252 {shown.decode("cp1252", errors="replace")!r}. So Excel saves "CSV". Save it as '
            '"CSV UTF-8", or convert it: iconv -f CP1252 -t UTF-8, or from your own code page where this reads wrong.'
        )
    return text


def lines_above_header(text: str) -> int:
    """How many of the first lines, titles or remarks, come before the one that names most columns; else 0."""
    named = [max(_named(line)) for line in text.splitlines()[:_MOST_ABOVE]]
    most = max(named, default=0)
    return named.index(most) if most >= _HALF else 0


def names_columns(line: str) -> bool:
    """Whether a line is the header of a table, perhaps an incomplete one."""
    return max(_named(line)) >= _HALF


def _refuse_thousands(path: Path, rows: Sequence[Row]) -> None:
    """Refuse commas in times that may part thousands: all before three digits, beside whole numbers without one."""
    times = [(row, row.values[name]) for row in rows for name in ("start", "end") if name in row.values]
    parted = [(row, time) for row, time in times if "," in time]
    if all(_THOUSANDS.fullmatch(time) for _, time in parted) and any(time.isdecimal() for _, time in times) and parted:
        row, time = parted[0]
        raise AnnotationError(
            f"{path}:{row.line}: {time!r} may be {time.replace(',', '')} or {time.replace(',', '.')} s; other times "
            "have no comma. Write thousands without a comma, or fractions with a point."
        )


def _named(line: str) -> list[int]:
    """How many of the required columns a line names, by delimiter."""
    meant = [{found.name for cell in cells_of(line, one) if (found := column(cell))} for one in DELIMITERS]
    return [len(own & set(REQUIRED)) for own in meant]


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of one line; none where it is no line of a CSV."""
    try:
        return next(csv.reader([line], delimiter=delimiter, quotechar=_quote(line)), [])
    except csv.Error:
        return []


def _quote(text: str) -> str:
    return "'" if text.lstrip().startswith("'") else '"'


def _delimiter(text: str) -> str:
    header = next(iter(text.lstrip().splitlines()), "")
    named = _named(header)
    return DELIMITERS[named.index(max(named))]


def _other_format(text: str) -> str:
    """What to do about content that looks like another format; empty where it does not."""
    begin = text.lstrip()[:1000]
    if begin.startswith(("{", "[")):
        return f" It begins with {begin[0]}, as JSON does: is `annotation_format: json` meant?"
    if begin.startswith("<"):
        return " It begins with <, as ELAN's .eaf does: is `annotation_format: eaf` meant?"
    if "##" in begin.partition("\n")[0]:
        return " Its first line has ##: is `annotation_format: charades_sta` meant?"
    return ""


def _without_surplus(cells: list[str], most: int) -> list[str]:
    """Cells without the empty ones behind so many, where something once stood."""
    count = len(cells)
    while count > most and not cells[count - 1].strip():
        count -= 1
    return cells[:count]


def _is_time(cell: str) -> bool:
    try:
        return parse_time(cell, fps=max(RATES)) >= 0
    except ValueError:
        return False


def _records(
    text: str, delimiter: str, first_line: int, is_row: Callable[[str], bool]
) -> Iterator[tuple[int, list[str], str]]:
    """Line, cells and fault of each row; after a fault the next line is read as another row.

    Args:
        is_row: whether a line is a whole row. A row that goes on over such a line lacks the end of a quote.
    """
    lines = list(io.StringIO(text, newline=""))
    opened = partial(csv.reader, delimiter=delimiter, quotechar=_quote(text), strict=True, skipinitialspace=True)
    after = start = 0  # lines that are read, and those of them that are read by another reader
    reader = opened(lines)
    while True:
        begin, cells, fault = after, [], ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = f"not a row of a CSV ({error})"
        after = start + reader.line_num
        if row := next((number for number in range(begin + 1, after) if is_row(lines[number])), 0):
            cells, fault = [], f"a quote opens in it and is not closed before the row of line {first_line + row}"
        if fault:
            after = start = begin + 1
            reader = opened(lines[number] for number in range(start, len(lines)))
            fault += (
                ". A sentence with commas or line breaks stands in quotes, and a quote inside of those is written "
                'twice ("")'
            )
        if fault or any(cell.strip() for cell in cells):
            yield first_line + begin, cells, fault


def _check_header(
    where: str,
    names: Sequence[str],
    chosen: Mapping[str, tuple[str, Column]],
    required: Sequence[str],
    *,
    hint: str,
) -> None:
    missing = [name for name in required if name not in chosen]
    if missing:
        if not hint and "video" in missing and any(name.lower().startswith("begin time -") for name in names):
            hint = " An export of ELAN lacks the video: export with the column of file names, or give the .eaf files."
        raise AnnotationError(
            f"{where}: a header with the columns {', '.join(required)} was expected; {', '.join(missing)} not found in "
            f"{', '.join(names)[:200]!r}. `{missing[0]}` may also be called {', '.join(COLUMNS[missing[0]][1:])}."
            f"{hint}"
        )
    for name in required:
        # ELAN writes one time in several notations, each behind a dash.
        same = [
            (found.rank, written)
            for written in names
            if " - " not in written and (found := column(written)) and found.name == name
        ]
        if len(twice := [written for rank, written in same if rank == min(same)[0]]) > 1:
            raise AnnotationError(f"{where}: {' and '.join(twice)} both mean {name}. Rename or remove one of them.")
