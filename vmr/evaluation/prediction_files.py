"""Files of predictions in the shapes that people write, as one record an answer. Their meaning is not judged here.

Read are JSON lines, one JSON list, and JSON dictionaries by query id or by video, plain or packed by gzip.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmr.annotations.columns import choose
from vmr.annotations.csv_table import names_columns
from vmr.annotations.parsed import NO_TEXT, unpacked
from vmr.errors import EvaluationError
from vmr.storage.json_text import load_json

# What systems call the spans of a query. `spans` is ours; moment_detr and its kin, and Ego4D's NLQ write the others.
SPAN_KEYS = ("spans", "pred_relevant_windows", "predicted_times")
_LISTS = ("results", "predictions", "submission", "preds")  # under which a dictionary holds its answers
_ONE_SPAN = ("timestamp", "segment")  # an answer with one span, as the evaluators of ActivityNet take it
_MOMENT = ("start_sec", "end_sec", "score")  # of `vmr locate --json`
_SCORES = ("score", "proposal_score")


@dataclass(frozen=True)
class Entry:
    """One answer of a file."""

    where: str  # ``FILE:line``, or ``FILE: entry n`` from 1, or ``FILE: key``
    value: Any  # the JSON value; an object where the file is right
    reason: str = ""  # why there is none, or nothing


def read_entries(path: Path) -> Iterator[Entry]:
    """The answers of a file, in its order; lines of nothing but blanks are skipped.

    Raises:
        EvaluationError: the file cannot be read or unpacked, or is of another kind.
    """
    content = _content(path)
    # Bytes split at b"\n" only: str.splitlines would also cut at U+2028, which JSON allows.
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    if not lines:
        return
    if len(lines) == 1 or not isinstance(_parsed(lines[0][1]).value, dict):
        whole = _parsed(content)
        if not whole.reason:
            yield from _entries(whole.value, str(path))
            return
    if _parsed(lines[0][1]).reason:
        _refuse_other_kinds(path, content, lines[0][1])
    for number, line in lines:
        entry = _parsed(line)
        yield Entry(f"{path}:{number}", entry.value, entry.reason)


def spans_of(record: Mapping[str, Any]) -> tuple[str, Any]:
    """The key and the value that hold the spans of an answer; one span may also stand alone, with its score."""
    if key := next((key for key in SPAN_KEYS if record.get(key) is not None), ""):
        return key, record[key]
    if isinstance(found := record.get("moments"), list) and all(isinstance(own, dict) for own in found):
        return SPAN_KEYS[0], [[own.get(name) for name in _MOMENT] for own in found]
    span = next((record[key] for key in _ONE_SPAN if isinstance(record.get(key), list)), None)
    if span is None and {"start", "end"} <= set(own := choose(record)):
        span = [record[own["start"][0]], record[own["end"][0]]]
    if span is None:
        return SPAN_KEYS[0], None
    score = next((record[key] for key in _SCORES if key in record), None)
    return SPAN_KEYS[0], [span if score is None else [*span, score]]


def _refuse_other_kinds(path: Path, content: bytes, first: bytes) -> None:
    """Refuse once what is no JSON at all, instead of line by line."""
    text = first.decode("utf-8", errors="replace")
    what = next((what for begin, what in NO_TEXT.items() if content.startswith(begin)), "")
    if "##" in text:
        what = "lines as of Charades-STA"
    elif names_columns(text):
        what = "a CSV"
    if what:
        raise EvaluationError(
            f"{path}: is {what}; JSON lines were expected, such as "
            '{"video_id": "3MSZA", "sentence": "person turn a light on.", "spans": [[24.0, 30.5, 0.93]]}.'
        )


def _content(path: Path) -> bytes:
    try:
        content = unpacked(path.read_bytes(), path, EvaluationError)
    except OSError as error:
        raise EvaluationError(f"{path}: the predictions cannot be read ({error.strerror}). Give their file.") from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise EvaluationError(f"{path}: the predictions are in UTF-16; UTF-8 was expected. Save them as UTF-8.")
    return content.removeprefix(b"\xef\xbb\xbf")


def _parsed(text: bytes) -> Entry:
    try:
        return Entry("", load_json(text))
    except ValueError as error:
        return Entry("", None, f"not a line of JSON ({error})")


def _entries(value: Any, where: str) -> Iterator[Entry]:
    """Answers in a JSON value that is a whole file."""
    if isinstance(value, list):
        yield from (Entry(f"{where}: entry {number}", item) for number, item in enumerate(value, start=1))
    elif not isinstance(value, dict) or not value or any(key in value for key in SPAN_KEYS):
        yield Entry(f"{where}:1", value)
    elif inner := next((value[key] for key in _LISTS if isinstance(value.get(key), list | dict)), None):
        yield from _entries(inner, where)
    elif not any(isinstance(item, list | dict) for item in value.values()):
        yield Entry(f"{where}:1", value)
    else:
        for key, item in value.items():
            yield from _under_key(key, item, f"{where}: {key}")


def _under_key(key: str, item: Any, where: str) -> Iterator[Entry]:
    """Answers under a key, which is the id of a query, or a video where its answers name sentences."""
    if isinstance(item, dict):
        sentences, times = item.get("sentences"), item.get("timestamps")
        if isinstance(sentences, list) and isinstance(times, list) and len(sentences) == len(times):
            # Answers laid out as the annotations of ActivityNet Captions: a span a sentence.
            for index, (sentence, span) in enumerate(zip(sentences, times, strict=True)):
                yield Entry(where, {"video_id": key, "index": index, "sentence": sentence, "spans": [span]})
        else:
            named = any(name in item for name in ("query_id", "qid", "video_id", "vid"))
            yield Entry(where, item if named else {"query_id": key, **item})
    elif isinstance(item, list) and item and all(isinstance(own, dict) for own in item):
        yield from _of_video(key, item, where)
    elif isinstance(item, list):
        numbers = bool(item) and not any(isinstance(own, list) for own in item)
        yield Entry(where, {"query_id": key, "spans": [item] if numbers else item})
    else:
        yield Entry(where, item)


def _of_video(video_id: str, items: list[dict[str, Any]], where: str) -> Iterator[Entry]:
    """Answers of a video, a dictionary each: with all spans of a sentence, or one span each to be put together."""
    together: dict[str, dict[str, Any]] = {}
    for item in items:
        sentence = item.get("sentence", item.get("query"))
        has_one = any(isinstance(item.get(key), list) for key in _ONE_SPAN)
        if not has_one or any(key in item for key in SPAN_KEYS) or not isinstance(sentence, str):
            yield Entry(where, {"video_id": video_id, **item})
            continue
        record = together.setdefault(sentence, {"video_id": video_id, "sentence": sentence, "spans": []})
        record["spans"] += spans_of(item)[1]
    yield from (Entry(where, record) for record in together.values())
