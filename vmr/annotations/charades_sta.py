"""Charades-STA text: one query a line, ``video start end##sentence.``, and the Charades table of durations."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from vmr.annotations.parsed import ParsedFile, Problem, Query, clean_sentence, read_bytes
from vmr.errors import AnnotationError

# float() alone would also take "1_000" and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)


def parse_charades_sta(path: Path) -> ParsedFile:
    """Read one file in the format of Charades-STA (Gao et al., 2017); queries are keyed by line number from 1,
    blank lines counted.

    Args:
        path: text in UTF-8, with or without byte order mark, lines ended in any way.

    Raises:
        AnnotationError: the file is missing or has no well-formed line.
    """
    parsed = ParsedFile()
    for number, raw in enumerate(read_bytes(path).splitlines(), start=1):
        if not raw.strip():
            continue
        parsed.lines += 1
        where = f"{path}:{number}"
        query = _parse_line(raw, key=str(number), where=where)
        if isinstance(query, Query):
            parsed.add(query)
        else:
            parsed.malformed.append(Problem(where, query))
    parsed.refuse_nothing(path, "one line has the Charades-STA format `video start end##sentence`")
    return parsed


def read_durations(paths: Sequence[Path]) -> ParsedFile:
    """Read durations from CSV files with columns `id` and `length` (seconds), such as Charades_v1_train.csv; other
    columns are ignored, and there are no queries. The first duration of a video counts.

    Raises:
        AnnotationError: a file is missing, or lacks the columns.
    """
    parsed = ParsedFile()
    for path in paths:
        text = read_bytes(path).decode("utf-8", errors="surrogateescape")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        try:
            columns = reader.fieldnames or []
            if not {"id", "length"} <= set(columns):
                raise AnnotationError(
                    f"{path}: a CSV with columns `id` and `length` (seconds) was expected; "
                    f"found {', '.join(columns)[:200]!r}. Correct the path or the header."
                )
            for row in reader:
                where = f"{path}:{reader.line_num}"
                video_id, length = ((row[name] or "").strip() for name in ("id", "length"))
                if video_id:
                    seconds = float(length) if _NUMBER.fullmatch(length) else float("nan")
                    parsed.take_duration(video_id, seconds, where=where, written=length)
                else:
                    parsed.malformed.append(Problem(where, "the id is empty"))
        except csv.Error as error:
            raise AnnotationError(f"{path}:{reader.line_num}: not a CSV ({error}). Correct the file.") from error
    return parsed


def _parse_line(raw: bytes, *, key: str, where: str) -> Query | str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"undecodable bytes ({error.reason} at byte {error.start}); UTF-8 was expected"
    head, separator, sentence = text.partition("##")
    if not separator:
        return "`##` between span and sentence is missing"
    # From the right, since the names of own videos may contain blanks.
    fields = head.strip(" \t").rsplit(maxsplit=2)
    if len(fields) != 3:
        return f"`video start end` was expected before `##`, found {head!r}"
    video_id, start, end = fields
    for name, value in (("start", start), ("end", end)):
        if not _NUMBER.fullmatch(value):
            return f"the {name} {value!r} is not a number of seconds"
    return Query(key, where, video_id, float(start), float(end), clean_sentence(sentence))
