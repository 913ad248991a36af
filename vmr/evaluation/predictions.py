"""Read predictions, from our models or anybody's, and refuse bad lines. Format: docs/predictions.md."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vmr.annotations.parsed import finite_or_none
from vmr.errors import EvaluationError
from vmr.evaluation.average_precision import AP_DEPTH
from vmr.evaluation.prediction_files import SPAN_KEYS, read_entries, spans_of
from vmr.evaluation.query_finder import BadRecordError, QueryFinder, finder_of_moments, short

Spans = npt.NDArray[np.float64]
# unknown: a query that the annotations have not, or not one only. contradiction: its keys do not fit each other.
KINDS = ("malformed", "duplicate", "unknown", "contradiction")
_SHOWN = 5  # faults that an error names, and places of each; the rest is counted
_VALUES = re.compile(r'"(?:[^"\\]|\\.)*?(?:"|\.\.\.)|[-+]?\d[\d.,]*|(?<=found ).*')


@dataclass(frozen=True)
class BadLine:
    """A line that is not used."""

    where: str  # file:line
    kind: str  # one of KINDS
    reason: str


@dataclass
class Predictions:
    """Answers, and what became of the lines."""

    # spans in seconds by query id: float64 of shape (n, 2), n >= 0, best first
    answers: dict[str, Spans] = field(default_factory=dict)
    # the first ten by score, where their order in the file is another
    by_score: dict[str, Spans] = field(default_factory=dict)
    lines: int = 0  # records: lines that are not blank, or entries of a list or dictionary
    bad: list[BadLine] = field(default_factory=list)  # lines that are not used
    not_scored: int = 0  # answers to moments without length, which nobody can find

    def counts(self) -> dict[str, int]:
        """Number of bad lines of each kind."""
        found = Counter(line.kind for line in self.bad)
        return {kind: found[kind] for kind in KINDS}


def read_predictions(path: Path, *, moments: pd.DataFrame) -> dict[str, Spans]:
    """Spans in seconds by query id, best first, of a file of JSON lines; one bad line refuses the file.

    Args:
        moments: the table of moments; queries of any of its splits may be answered.

    Raises:
        EvaluationError: the file is missing or has a bad line, see `parse_predictions`.
    """
    predictions = parse_predictions(path, finder=finder_of_moments(moments))
    refuse_bad_lines(predictions)
    return predictions.answers


def parse_predictions(path: Path, *, finder: QueryFinder) -> Predictions:
    """Read ranked spans, one record a query, and note every record that cannot be used.

    Of `spans`, those with scores are ranked by them, equal ones in the order of the file; spans without keep their
    order. Windows of other systems keep their order, as their evaluators have it, and are ranked by score for the
    average precision. Zero-length spans and spans that leave the video are kept: scoring counts them as what they are.
    A record is bad when it is no object, does not name one query, contradicts itself about it, or answers a query again
    (the first counts). It is bad, too, when a span is not finite or ends before it starts, or when only some spans have
    scores.

    Raises:
        EvaluationError: the file cannot be read.
    """
    first: dict[str, str] = {}
    result = Predictions()
    for entry in read_entries(path):
        result.lines += 1
        try:
            if entry.reason:
                raise BadRecordError(entry.reason)
            if not isinstance(entry.value, dict):
                raise BadRecordError(f"expected a JSON object, found {short(entry.value)}")
            query = finder.find(entry.value)
            if query.query_id in first:
                place = first[query.query_id].removeprefix(f"{path}:").strip()
                line = "line " if place.isdigit() else ""
                raise BadRecordError(
                    f"query {short(query.query_id)} was already answered on {line}{place}. Put all spans of a query "
                    "into one record",
                    "duplicate",
                )
            ranked, by_score = _parse_spans(entry.value, whose=f"query {short(query.query_id)}: ")
        except BadRecordError as problem:
            result.bad.append(BadLine(entry.where, problem.kind, problem.reason))
            continue
        first[query.query_id] = entry.where
        if query.is_scored:
            result.answers[query.query_id] = ranked
            if by_score is not None:
                result.by_score[query.query_id] = by_score
        else:
            result.not_scored += 1
    return result


def refuse_bad_lines(predictions: Predictions, *, kinds: Collection[str] | None = None) -> None:
    """Refuse bad lines, of these kinds where they are named.

    Raises:
        EvaluationError: names each fault once, with the first line that has it.
    """
    faults = [fault for fault in faults_of(predictions.bad) if kinds is None or fault.first.kind in kinds]
    if not faults:
        return
    text = "\n".join(map(str, faults[:_SHOWN]))
    if len(faults) > _SHOWN:
        text += f"\n... and {sum(fault.lines for fault in faults[_SHOWN:]):,} more lines that cannot be used."
    raise EvaluationError(text)


@dataclass
class Fault:
    """A fault that one or many lines have."""

    first: BadLine
    lines: int = 0
    others: list[str] = field(default_factory=list)  # the next few places

    def __str__(self) -> str:
        """The first line with its reason, and how many more there are."""
        more = self.lines - 1
        text = f"{self.first.where}: {self.first.reason}."
        if more:
            shown = ", ".join(self.others) + (", ..." if more > len(self.others) else "")
            text += f" {more:,} more {'line has' if more == 1 else 'lines have'} this fault: {shown}."
        return text


def faults_of(bad: Iterable[BadLine]) -> list[Fault]:
    """Bad lines gathered by fault: reasons that differ in quoted texts and numbers only are one."""
    faults: dict[tuple[str, str], Fault] = {}
    for line in bad:
        fault = faults.setdefault((line.kind, _VALUES.sub("_", line.reason)), Fault(line))
        if fault.lines and len(fault.others) < _SHOWN:
            fault.others.append(line.where.rpartition(":")[2].strip())
        fault.lines += 1
    return list(faults.values())


def _parse_spans(record: Mapping[str, Any], *, whose: str) -> tuple[Spans, Spans | None]:
    """Spans best first, and another order for the average precision where it differs."""
    key, spans = spans_of(record)
    if not isinstance(spans, list):
        names = " or ".join(f'"{name}"' for name in SPAN_KEYS[:2])
        found = f"the keys {', '.join(record)}" if spans is None else short(spans)
        raise BadRecordError(f"{whose}expected {names} with a list of [start_sec, end_sec, score], found {found}")
    width = len(spans[0]) if spans and isinstance(spans[0], list) else 3
    for rank, span in enumerate(spans, start=1):
        if not isinstance(span, list) or len(span) not in (2, 3) or None in map(finite_or_none, span):
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
    if width == 2:
        return table, None
    if key == "spans":
        return table[np.argsort(-table[:, 2], kind="stable"), :2], None
    # Those evaluators take the first span for R@1 wherever its score stands, and rank the first ten for the mAP.
    first = table[:AP_DEPTH]
    order = np.argsort(-first[:, 2], kind="stable")
    return table[:, :2], None if (np.diff(order) > 0).all() else first[order, :2]
