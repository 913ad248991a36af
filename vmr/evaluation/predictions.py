"""Read predictions, from our models or anybody's, and refuse what cannot be meant. Format: docs/predictions.md."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vmr.errors import EvaluationError
from vmr.evaluation.query_finder import BadRecordError, QueryFinder, finder_of_moments, short

Spans = npt.NDArray[np.float64]
_SHOWN = 5  # bad lines that an error names; the rest is counted


@dataclass(frozen=True)
class BadLine:
    """A line that is not used."""

    where: str  # file:line
    kind: str  # "malformed", "duplicate" or "unknown" (a query that the annotations have not, or not one only)
    reason: str


@dataclass
class Predictions:
    """Answers, and what became of the lines.

    Attributes:
        answers: spans in seconds by query id: float64 of shape (n, 2), n >= 0, best first.
        lines: lines that are not blank.
        bad: lines that are not used.
        not_scored: answers to moments without length, which nobody can find.
    """

    answers: dict[str, Spans] = field(default_factory=dict)
    lines: int = 0
    bad: list[BadLine] = field(default_factory=list)
    not_scored: int = 0

    def counts(self) -> dict[str, int]:
        """Number of bad lines of each kind."""
        found = Counter(line.kind for line in self.bad)
        return {kind: found[kind] for kind in ("malformed", "duplicate", "unknown")}


def read_predictions(path: Path | str, *, moments: pd.DataFrame) -> dict[str, Spans]:
    """Read ranked spans that answer the queries of a table of moments; one bad line refuses the file.

    Args:
        path: JSON lines as docs/predictions.md says.
        moments: the table of moments; queries of any of its splits may be answered.

    Returns:
        Spans in seconds by query id: float64 of shape (n, 2), n >= 0, best first.

    Raises:
        EvaluationError: the file is missing or has a bad line, see `parse_predictions`.
    """
    predictions = parse_predictions(path, finder=finder_of_moments(moments))
    refuse_bad_lines(predictions)
    return predictions.answers


def parse_predictions(path: Path | str, *, finder: QueryFinder) -> Predictions:
    """Read ranked spans, one JSON object a line, and note every line that cannot be meant.

    Spans with scores are ranked by them, equal ones in the order of the file; spans without keep their order.
    Zero-length spans and spans that leave the video are kept: scoring counts them as what they are. Lines with
    nothing but blanks are skipped. A line is bad when it is not such an object, names no query or not a single one,
    answers a query again (the first line counts), or holds a span whose numbers are not finite, that ends before it
    starts, or that has a score where another span of the line has none.

    Args:
        path: JSON lines as docs/predictions.md says.
        finder: knows the queries.

    Raises:
        EvaluationError: the file cannot be read.
    """
    first_line: dict[str, int] = {}
    result = Predictions()
    for number, line in _lines(Path(path)):
        where = f"{path}:{number}"
        result.lines += 1
        try:
            record = _parse_object(line)
            query = finder.find(record)
            if query.query_id in first_line:
                raise BadRecordError(
                    f"query {short(query.query_id)} was already answered on line {first_line[query.query_id]}. Put all "
                    "spans of a query into one line",
                    "duplicate",
                )
            spans = _parse_spans(record.get("spans"), whose=f"query {short(query.query_id)}: ")
        except BadRecordError as problem:
            result.bad.append(BadLine(where, problem.kind, problem.reason))
            continue
        first_line[query.query_id] = number
        if query.is_scored:
            result.answers[query.query_id] = spans
        else:
            result.not_scored += 1
    return result


def refuse_bad_lines(predictions: Predictions) -> None:
    """Raise an error that names the first bad lines, if there are any.

    Raises:
        EvaluationError: there is a bad line.
    """
    bad = predictions.bad
    if not bad:
        return
    text = "\n".join(f"{line.where}: {line.reason}." for line in bad[:_SHOWN])
    if len(bad) > _SHOWN:
        text += f"\n... and {len(bad) - _SHOWN:,} more lines that cannot be used."
    raise EvaluationError(text)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        # Iterating over bytes splits at b"\n" only: str.splitlines would also cut at U+2028, which JSON allows.
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if content.strip():
                    yield number, content
    except OSError as error:
        raise EvaluationError(f"{path}: the predictions cannot be read ({error.strerror}). Give their file.") from error


def _parse_object(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # both JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise BadRecordError(f"not a line of JSON ({error})") from error
    if not isinstance(record, dict):
        raise BadRecordError(f"expected a JSON object, found {short(record)}")
    return record


def _parse_spans(spans: Any, *, whose: str) -> Spans:
    if not isinstance(spans, list):
        raise BadRecordError(
            f'{whose}expected "spans" with a list of [start_sec, end_sec, score], found {short(spans)}'
        )
    width = len(spans[0]) if spans and isinstance(spans[0], list) else 3
    for rank, span in enumerate(spans, start=1):
        if not isinstance(span, list) or len(span) not in (2, 3) or not all(_is_finite_number(value) for value in span):
            raise BadRecordError(
                f"{whose}span {rank} must be finite numbers [start_sec, end_sec, score] or [start_sec, end_sec], "
                f"found {short(span)}"
            )
        if len(span) != width:
            raise BadRecordError(f"{whose}span {rank} is {short(span)}: give a score to all spans of a line or to none")
        if float(span[0]) > float(span[1]):
            raise BadRecordError(
                f"{whose}span {rank} starts at {float(span[0])} s, after its end at {float(span[1])} s"
            )
    table = np.array(spans, dtype=np.float64).reshape(-1, width)
    if width == 3:
        table = table[np.argsort(-table[:, 2], kind="stable")]
    return table[:, :2]


def _is_finite_number(value: Any) -> bool:
    # JSON's true is a Python int, and 10**400 a finite one that no float can hold.
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
