"""Annotations in JSON and JSON lines, in the layouts in which the field hands them out.

Per video, ``{video: {"timestamps": [[s, s], ...], "sentences": [...]}}``: ActivityNet Captions, Charades-CD, VideoX
and 2D-TAN (TACoS with frame numbers); ``{split: {video: {"annotations": [{"segment", "sentence"}]}}}``: SnAG, YouCook2.
Per sentence, a list, JSON lines or ``{id: record}``: QVHighlights and lighthouse, DiDeMo, TMLGA, TVR, MAD; rows
``[video, duration, [s, s], sentence]``: VSLNet. Nested ``videos``, ``clips``, ``annotations``, ``language_queries``:
Ego4D's NLQ. Keys are read as the columns of a CSV are (`vmr.annotations.columns`).
"""

import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmr.annotations.columns import choose, parse_time
from vmr.annotations.csv_table import REQUIRED
from vmr.annotations.parsed import (
    ParsedFile,
    Problem,
    Window,
    clean_sentence,
    finite_or_none,
    printable,
    query_of,
    question,
    read_bytes,
)
from vmr.annotations.units import are_lengths
from vmr.annotations.via import via_project
from vmr.errors import AnnotationError
from vmr.storage.json_text import DeepError, load_json

DIDEMO_SEGMENT_SEC = 5.0
_LAYOUTS = (
    "records with a video, a sentence and times (QVHighlights, lighthouse, DiDeMo, TMLGA, TVR, MAD; a list, JSON lines "
    "or an object), or videos with `timestamps` and `sentences` (ActivityNet Captions, VideoX, 2D-TAN) or with "
    "`annotations` (SnAG, YouCook2)"
)


@dataclass
class _Record:
    """A sentence as a file has it."""

    where: str
    key: str
    values: Mapping[str, Any]  # by the names of `COLUMNS`
    units: Mapping[str, str]
    split: str = ""


def parse_json(path: Path, *, splits: Sequence[str] = (), name: str = "") -> dict[str, ParsedFile]:
    """Read one file, and divide it where it says which sentence belongs to which split; see `vmr.annotations.read`.

    Args:
        path: JSON or JSON lines in UTF-8, with or without byte order mark.

    Returns:
        The queries of each split; spans in seconds. Keyed ``video:index`` where sentences stand below their video,
        else by the id of the record, or its number from 1. A video whose duration is unusable keeps its queries.

    Raises:
        AnnotationError: the file is missing, in none of these layouts, lacks a split, or has nothing usable.
    """
    records, problems = _read(path)
    held = list(dict.fromkeys(record.split for record in records if record.split))
    wanted = list(dict.fromkeys(splits)) or held or [name or path.stem]
    divided = len(wanted) > 1 or wanted[0] in held or len(held) > 1
    parts: dict[str, ParsedFile] = {}
    for split in wanted:
        own = [record for record in records if not divided or record.split.casefold() == split.casefold()]
        if divided and not own:
            there = f"it holds {', '.join(held)}" if held else "its records do not say to which split they belong"
            raise AnnotationError(
                f"{path}: has nothing for the split {split}; {there}. Name each split as the file does, or give each "
                "split a file of its own."
            )
        parts[split] = _parse(own)
    first = next(iter(parts.values()))
    first.malformed[:0] = problems
    first.lines += sum(problem.reason.startswith("not JSON") for problem in problems)
    for part in parts.values():
        part.refuse_nothing(path, "one sentence with a video and times, as in " + _LAYOUTS)
    return parts


def sentences_without_times(path: Path) -> ParsedFile:
    """The sentences of a file about the first second of their videos, as of test sets whose times nobody hands out.

    Raises:
        AnnotationError: the file is missing, or in none of the layouts.
    """
    records, problems = _read(path)
    parsed = ParsedFile(malformed=problems)
    for record in records:
        video, sentence = _video_of(record), record.values.get("sentence")
        if isinstance(video, str) and isinstance(sentence, str):
            parsed.add(question(record.key, record.where, video, sentence))
        else:
            parsed.malformed.append(Problem(record.where, "a video and a sentence were expected, as texts"))
    return parsed


def _video_of(record: _Record) -> Any:
    """The name of its video, which may be a number; whatever else stands there."""
    video = record.values.get("video")
    return str(video) if isinstance(video, int) and not isinstance(video, bool) else video


def _read(path: Path) -> tuple[list[_Record], list[Problem]]:
    problems: list[Problem] = []
    found = list(_records(_load(path, problems), path))
    problems += [one for one in found if isinstance(one, Problem)]
    return [one for one in found if isinstance(one, _Record)], problems


def _load(path: Path, problems: list[Problem]) -> Any:
    # Undecodable bytes become lone surrogates, so that they cost one sentence and not the file.
    text = read_bytes(path).decode("utf-8", errors="surrogateescape")
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in pairs:
            if name in values:
                repeated.append(name)
            values[name] = value
        return values

    try:
        content = load_json(text, pairs=unique)
    except DeepError as error:
        raise AnnotationError(f"{path}: {error}. Expected were {_LAYOUTS}.") from error
    except ValueError as error:
        content = _json_lines(text, path, problems)
        if content is None:
            raise AnnotationError(
                f"{path}: not JSON ({error}), and not JSON lines either. Is the file complete? Make or copy it again, "
                "or check annotation_format."
            ) from error
    problems += [Problem(f"{path}: {name}", "the key appears twice; the last one counts") for name in repeated]
    return content


def _json_lines(text: str, path: Path, problems: list[Problem]) -> list[tuple[int, Any]] | None:
    """Numbers and content of the lines; None where the first one is no object."""
    entries: list[Any] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append((number, load_json(line)))
        except ValueError as error:
            if not entries:
                return None
            problems.append(Problem(f"{path}:{number}", f"not JSON ({error})"))
    return _Lines(entries) if entries and isinstance(entries[0][1], dict) else None


class _Lines(list[tuple[int, Any]]):
    """Entries of JSON lines, with the numbers of their lines."""


def _records(content: Any, path: Path) -> Iterator[_Record | Problem]:
    """The sentences of a file, whichever layout it has, and what is none."""
    if isinstance(content, _Lines):
        yield from _listed([(f"{path}:{number}", str(number), entry) for number, entry in content])
        return
    if isinstance(content, dict) and isinstance(content.get("database"), dict):
        content = content["database"]
    if isinstance(content, dict) and {"metadata", "file", "view"} <= set(content):
        for number, values, fault in via_project(content):
            where = f"{path}: segment {number}"
            own = _Record(where, str(number), dict(zip(REQUIRED, values, strict=True)), {})
            yield Problem(where, fault) if fault else own
        return
    if isinstance(content, dict) and isinstance(content.get("videos"), list):
        if any(isinstance(entry, dict) and "clips" in entry for entry in content["videos"]):
            yield from _ego4d(content["videos"], path)
            return
        raise AnnotationError(
            f"{path}: has the lists {', '.join(content)}, as files after COCO's. Convert it to a CSV: a row for each "
            "sentence with video, start, end and sentence."
        )
    spoken = content.get("segments") if isinstance(content, dict) else None
    if isinstance(spoken, list) and not any(map(_names_video, spoken)):
        raise AnnotationError(
            f"{path}: its `segments` name no video, as transcripts of Whisper do not. Convert it to a CSV: a row for "
            "each sentence with video, start, end and sentence."
        )
    if isinstance(content, dict) and _is_record(content):
        content = [content]
    if isinstance(content, list):
        entries = [(f"{path}: record {number}", str(number), entry) for number, entry in enumerate(content, start=1)]
        if entries and not any(isinstance(entry, dict | list) for entry in content):
            raise AnnotationError(
                f"{path}: a list of {type(content[0]).__name__} was found; expected were {_LAYOUTS}. Convert it to a "
                "CSV."
            )
        yield from _listed(entries)
    elif isinstance(content, dict):
        yield from _of_object(content, path, split="")
    else:
        raise AnnotationError(
            f"{path}: found {type(content).__name__}; expected were {_LAYOUTS}. Check annotation_format and the file."
        )


def _of_object(content: Mapping[str, Any], path: Path, *, split: str) -> Iterator[_Record | Problem]:
    for name, entry in content.items():
        where = f"{path}: {name}"
        if _is_record(entry):
            yield from _listed([(where, name, entry)], split=split)
        elif isinstance(entry, dict) and ("timestamps" in entry or "sentences" in entry):
            yield from _captions(name, entry, where, split)
        elif isinstance(entry, dict) and isinstance(entry.get("annotations"), list):
            own = {key: value for key, value in entry.items() if key != "annotations"}
            for index, one in enumerate(entry["annotations"]):
                values = {**own, "video": name, **one} if isinstance(one, dict) else one
                yield from _listed([(f"{where}[{index}]", f"{name}:{index}", values)], split=split)
        elif isinstance(entry, list) and any(map(_is_record, entry)):  # a split, or a video, with its records
            entries = [(f"{where}[{index}]", f"{name}:{index}", one) for index, one in enumerate(entry)]
            named = [
                (there, key, {**one, "video": name} if isinstance(one, dict) and not _names_video(one) else one)
                for there, key, one in entries
            ]
            yield from _listed(named, split=split or (name if _names_video(entry[0]) else ""))
        elif isinstance(entry, dict) and not split and entry and all(isinstance(one, dict) for one in entry.values()):
            yield from _of_object(entry, path, split=name)
        elif isinstance(entry, dict):
            yield Problem(where, "the lists `timestamps` and `sentences` were expected")
        else:
            yield Problem(where, f"an object was expected, found {type(entry).__name__}")


def _captions(video: str, entry: Mapping[str, Any], where: str, split: str) -> Iterator[_Record | Problem]:
    """The sentences of a video in the layout of ActivityNet Captions."""
    timestamps, sentences = entry.get("timestamps"), entry.get("sentences")
    if not isinstance(timestamps, list) or not isinstance(sentences, list):
        yield Problem(where, "the lists `timestamps` and `sentences` were expected")
        return
    if len(timestamps) != len(sentences):
        # Which sentence lacks its span cannot be known: pairing them up anyway would teach wrong moments.
        yield Problem(where, f"{len(timestamps)} timestamps but {len(sentences)} sentences; the video is left out")
        return
    chosen = choose(entry)
    own = {
        name: entry[written] for name, (written, _) in chosen.items() if name in ("duration", "fps", "frames", "split")
    }
    # As VideoX and 2D-TAN hand TACoS out: frame numbers beside their rate and count, and no duration.
    frames = "duration" not in own and {"fps", "frames"} <= set(own) and _whole_numbers(timestamps)
    for index, (span, sentence) in enumerate(zip(timestamps, sentences, strict=True)):
        values = {**own, "video": video, "windows": span, "sentence": sentence}
        place, units = f"{printable(where)}[{index}]", {"windows": "frames" if frames else "s"}
        yield _Record(place, f"{video}:{index}", values, units, split or str(own.get("split") or ""))


def _ego4d(videos: list[Any], path: Path) -> Iterator[_Record | Problem]:
    """The queries of Ego4D's NLQ: each clip is a video of its own, with times on its own clock."""
    for video in _objects(videos):
        for clip in _objects(video.get("clips")):
            bounds = [finite_or_none(clip.get(f"clip_{name}_sec")) for name in ("start", "end")]
            for annotation in _objects(clip.get("annotations")):
                if not isinstance(annotation.get("language_queries"), list):
                    where = f"{path}: clip {clip.get('clip_uid')}"
                    yield Problem(where, "`language_queries` were expected: of Ego4D, NLQ alone is read")
                for index, query in enumerate(_objects(annotation.get("language_queries"))):
                    # By these two the submissions of its challenge name a query.
                    key = f"{annotation.get('annotation_uid')}_{index}"
                    times = {name: query.get(f"clip_{name}_sec") for name in ("start", "end")}
                    values = {"video": clip.get("clip_uid"), "sentence": query.get("query"), "query_id": key}
                    values |= {name: time for name, time in times.items() if time is not None}
                    if bounds[0] is not None and bounds[1] is not None:
                        values["duration"] = bounds[1] - bounds[0]
                    yield _Record(f"{path}: {key}", key, values, {}, str(video.get("split") or ""))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _listed(entries: Sequence[tuple[str, str, Any]], *, split: str = "") -> Iterator[_Record | Problem]:
    for where, number, entry in entries:
        if isinstance(entry, list) and len(entry) == 4 and isinstance(entry[3], str):  # VSLNet
            entry = dict(zip(("video", "duration", "timestamp", "sentence"), entry, strict=True))
        if not isinstance(entry, dict):
            yield Problem(where, f"an object was expected, found {type(entry).__name__}")
            continue
        chosen = choose(entry)
        values = {name: entry[written] for name, (written, _) in chosen.items()}
        if "num_segments" in entry and "windows" in values:
            values["votes"] = values.pop("windows")
        key = values.get("query_id")
        key = number if key is None or isinstance(key, dict | list) else str(key)
        own = split or (str(values["split"]) if isinstance(values.get("split"), str) else "")
        yield _Record(where, key, values, {name: found.unit for name, (_, found) in chosen.items()}, own)


def _is_record(entry: Any) -> bool:
    chosen = choose(entry) if isinstance(entry, dict) else {}
    return "sentence" in chosen and bool({"video", "windows", "start"} & set(chosen))


def _names_video(entry: Any) -> bool:
    return isinstance(entry, dict) and "video" in choose(entry)


def _whole_numbers(windows: Any) -> bool:
    numbers = [_number(number) for window in windows if isinstance(window, list) for number in window]
    return all(number is not None and number.is_integer() for number in numbers)


def _parse(records: Sequence[_Record]) -> ParsedFile:
    parsed, keys = ParsedFile(), set[str]()
    in_frames, of_moments = _frames_by_values(records), _durations_of_moments(records)
    told: dict[str, str] = {}
    for record in records:
        parsed.lines += 1
        values = record.values
        video, sentence = _video_of(record), values.get("sentence")
        fps = _number(values.get("fps"))
        fault = ""
        windows: list[Window] = []
        if not isinstance(video, str) or not video:
            fault = f"a text under `video` (or `vid`) was expected, found {video!r:.80}"
        elif not isinstance(sentence, str):
            fault = f"a sentence was expected, found {type(sentence).__name__}"
        elif record.key in keys:
            fault = f"the id {record.key!r} was there before; the first one counts"
        else:
            try:
                windows = _windows(record, fps, in_frames)
            except ValueError as error:
                fault = str(error)
        if fault:
            parsed.malformed.append(Problem(record.where, fault))
            continue
        keys.add(record.key)
        text, named = clean_sentence(str(sentence)), values.get("query_id") is not None
        parsed.add(query_of(record.key, record.where, str(video), windows, text, is_named=named))
        duration = values.get("duration")
        seconds = _seconds_or_none(duration)
        if duration is None and fps and fps > 0 and (count := _number(values.get("frames"))):
            seconds = count / fps
        if of_moments:
            continue
        if seconds is not None and seconds > 0:
            if parsed.durations.setdefault(str(video), seconds) != seconds and str(video) not in told:
                kept = parsed.durations[str(video)]
                told[str(video)] = f"{video} lasts {seconds} s here but {kept} s before; {kept} kept"
                parsed.malformed.append(Problem(record.where, told[str(video)]))
        elif duration is not None and str(video) not in told:
            told[str(video)] = f"the duration {duration!r} is not a number of seconds; taken as unknown"
            parsed.malformed.append(Problem(record.where, told[str(video)]))
    return parsed


def _windows(record: _Record, fps: float | None, in_frames: bool) -> list[Window]:
    values, units = record.values, record.units
    if "votes" in values:
        return [consensus(values["votes"])]
    if "windows" not in values and "start" not in values:
        raise ValueError(
            "it has no times (`relevant_windows`, `timestamps`, or start and end); test splits whose truth is not "
            "public, as that of QVHighlights, cannot be scored here"
        )
    given = values["windows"] if "windows" in values else [values["start"], values.get("end")]
    several = isinstance(given, list) and given and all(isinstance(one, list | dict) for one in given)
    listed = given if several else [given]
    name = "windows" if "windows" in values else "start"
    unit = "frames" if in_frames else units.get(name, "s")
    windows = []
    for window in listed:
        if isinstance(window, dict) and {"start", "end"} <= set(own := choose(window)):
            window = [window[own[key][0]] for key in ("start", "end")]
        if not isinstance(window, list) or len(window) != 2:
            raise ValueError(f"[start, end] in seconds was expected, found {str(window)[:80]}")
        times = []
        for time in window:
            if isinstance(time, str):
                times.append(parse_time(time, unit=unit, fps=fps))
            elif (number := finite_or_none(time)) is None:
                raise ValueError(f"[start, end] in seconds was expected, found {str(window)[:80]}")
            else:
                times.append(number if unit == "s" else parse_time(repr(number), unit=unit, fps=fps))
        windows.append((times[0], times[1]))
    return windows


def _number(value: Any) -> float | None:
    """A number, also written as text; None where it is none."""
    if isinstance(value, str) and re.fullmatch(r"\d+\.?\d*", value.strip(), re.ASCII):
        value = float(value)
    return finite_or_none(value)


def _seconds_or_none(value: Any) -> float | None:
    """A duration in seconds, also written as text; None where it is none."""
    try:
        return parse_time(value) if isinstance(value, str) else finite_or_none(value)
    except ValueError:
        return None


def consensus(votes: Any) -> Window:
    """The moment that the annotators of DiDeMo agree on: of their spans of 5 s segments, the one nearest to the others.

    The span with the largest summed IoU with all spans is taken, of equal ones the first by time.

    >>> consensus([[1, 1], [1, 2], [1, 1], [4, 5]])
    (5.0, 10.0)
    """
    spans = []
    for vote in votes if isinstance(votes, list) else []:
        if not (isinstance(vote, list) and len(vote) == 2 and all(isinstance(one, int) and one >= 0 for one in vote)):
            raise ValueError(f"votes [first, last segment] were expected under `times`, found {str(vote)[:80]}")
        spans.append((vote[0] * DIDEMO_SEGMENT_SEC, (vote[1] + 1) * DIDEMO_SEGMENT_SEC))
    if not spans:
        raise ValueError(f"votes [[first, last segment], ...] were expected under `times`, found {str(votes)[:80]}")

    def agreement(span: Window) -> float:
        shared = [max(0.0, min(span[1], other[1]) - max(span[0], other[0])) for other in spans]
        lengths = [span[1] - span[0] + other[1] - other[0] for other in spans]
        return math.fsum(both / (total - both) for both, total in zip(shared, lengths, strict=True))

    return min(spans, key=lambda span: (-round(agreement(span), 9), span))


def _frames_by_values(records: Sequence[_Record]) -> bool:
    """Whether the times can only be frame numbers: all whole, and most end after num_frames / fps seconds, or after the
    duration where there is only a rate beside it.
    """
    past = []
    for record in records:
        values = record.values
        fps, count = _number(values.get("fps")), _number(values.get("frames"))
        if not fps or not {"windows", "start"} & set(values) or "frames" in record.units.values():
            continue
        if not (seconds := count / fps if count else _seconds_or_none(values.get("duration"))):
            continue
        windows = values.get("windows", [values.get("start"), values.get("end")])
        if not isinstance(windows, list):
            continue
        listed = windows if windows and all(isinstance(one, list) for one in windows) else [windows]
        if not _whole_numbers(listed):
            return False
        past += [max((_number(time) or 0.0 for time in window), default=0.0) > 1.1 * seconds for window in listed]
    return bool(past) and statistics.mean(past) > 0.5


def _durations_of_moments(records: Sequence[_Record]) -> bool:
    """Whether the records' durations are those of their moments."""
    given = [[record.values.get(name) for name in ("start", "end", "duration")] for record in records]
    times = [[seconds for value in own if (seconds := _seconds_or_none(value)) is not None] for own in given]
    return are_lengths((own[0], own[1], own[2]) for own in times if len(own) == len(given[0]))
