"""Read `predictions.jsonl`, from our models or anybody's, and refuse what cannot be meant."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vmr.errors import EvaluationError

Spans = npt.NDArray[np.float64]


def read_predictions(path: Path | str, *, moments: pd.DataFrame) -> dict[str, Spans]:
    """Read ranked spans, one JSON object a line, and check every line against the queries that exist.

    A line is ``{"query_id": ..., "spans": [[start_sec, end_sec, score], ...]}``, best span first; `video_id` and
    `split` may be given too and must then agree with the annotations. Zero-length spans and spans past the end of
    the video are kept: scoring counts them as what they are. Lines with nothing but blanks are skipped.

    Args:
        path: the file.
        moments: the table of moments; queries of any of its splits may be answered.

    Returns:
        Spans in seconds by query id: float64 of shape (n, 2), n >= 0, best first.

    Raises:
        EvaluationError: the file is missing, or a line is not such an object, answers a query twice or one that
            does not exist, or holds a span with a number that is not finite, a start after its end or a score
            above that of the span before it.
    """
    path = Path(path)
    known = dict(
        zip(moments["query_id"], zip(moments["video_id"], moments["split"], strict=True), strict=True),
    )
    first_line: dict[str, int] = {}
    predictions: dict[str, Spans] = {}
    try:
        # Split at b"\n" only: str.splitlines would also cut at U+2028, which JSON allows inside strings.
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise EvaluationError(
            f"{path}: the predictions cannot be read ({error.strerror}). Run predict first."
        ) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        record = _parse_line(line, where=where)
        query_id = record.get("query_id")
        if not isinstance(query_id, str):
            raise EvaluationError(f'{where}: expected "query_id" with a text, found {_short(query_id)}.')
        if query_id not in known:
            raise EvaluationError(
                f"{where}: the annotations have no query {_short(query_id)}. Predictions and annotations must belong "
                f"to the same dataset; its ids look like {_short(next(iter(known), ''))}."
            )
        if query_id in first_line:
            raise EvaluationError(
                f"{where}: query {_short(query_id)} was already answered on line {first_line[query_id]}. "
                "Put all spans of a query into one line, best first."
            )
        for name, expected in zip(("video_id", "split"), known[query_id], strict=True):
            if record.get(name, expected) != expected:
                raise EvaluationError(
                    f"{where}: query {_short(query_id)} has {name} {_short(expected)} in the annotations, "
                    f"{_short(record[name])} here."
                )
        first_line[query_id] = number
        predictions[query_id] = _parse_spans(record.get("spans"), where=f"{where}: query {_short(query_id)}")
    return predictions


def _parse_line(line: bytes, *, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # both JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise EvaluationError(f"{where}: not a line of JSON ({error}).") from error
    if not isinstance(record, dict):
        raise EvaluationError(f"{where}: expected a JSON object, found {_short(record)}.")
    return record


def _parse_spans(spans: Any, *, where: str) -> Spans:
    if not isinstance(spans, list):
        raise EvaluationError(
            f'{where}: expected "spans" with a list of [start_sec, end_sec, score], found {_short(spans)}.'
        )
    result = np.empty((len(spans), 2))
    previous_score = math.inf
    for rank, span in enumerate(spans):
        if not isinstance(span, list) or len(span) != 3 or not all(_is_finite_number(value) for value in span):
            raise EvaluationError(
                f"{where}: span {rank + 1} must be three finite numbers [start_sec, end_sec, score], "
                f"found {_short(span)}."
            )
        start_sec, end_sec, score = map(float, span)
        if start_sec > end_sec:
            raise EvaluationError(f"{where}: span {rank + 1} starts at {start_sec} s, after its end at {end_sec} s.")
        if score > previous_score:
            raise EvaluationError(
                f"{where}: span {rank + 1} has the score {score}, above {previous_score} of the span before it; "
                "order the spans best first."
            )
        previous_score = score
        result[rank] = start_sec, end_sec
    return result


def _is_finite_number(value: Any) -> bool:
    # JSON's true is a Python int, and 10**400 a finite one that no float can hold.
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
