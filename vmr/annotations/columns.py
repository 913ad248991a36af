"""What the columns of a table and the keys of JSON records are called, their units, and times as people write them."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

# In small letters and with _ for blanks and other signs; the first name is the one in errors.
COLUMNS = {
    "video": ("video", "video_id", "video_name", "clip", "file", "filename", "file_name"),
    "start": ("start", "start_sec", "start_time", "time_start", "begin", "from"),
    "end": ("end", "end_sec", "end_time", "time_end", "stop", "to"),
    "sentence": ("sentence", "query", "description", "caption", "text"),
    "query_id": ("query_id", "qid", "sentence_id", "desc_id", "annotation_id"),
    "duration": ("duration", "duration_sec", "video_duration", "length", "movie_duration", "time_length"),
    "split": ("split", "subset"),
    "fps": ("fps", "frame_rate", "framerate"),
    "frames": ("num_frames", "number_frames", "frame_count"),
    "windows": ("relevant_windows", "windows", "timestamps", "timestamp", "segment", "times", "ts", "span"),
}
# Taken where no column has one of the names above.
_LOOSE = {
    "video": (
        "vid",
        "vid_name",
        "movie",
        "clip_name",
        "file_path",
        "video_file",
        "video_path",
        "media",
        "media_file",
        "media_file_name",
        "clip_uid",
    ),
    "start": ("begin_time", "onset", "clip_start_sec"),
    "end": ("stop_time", "offset", "clip_end_sec"),
    "sentence": ("desc", "annotation", "annotation_value", "value", "behavior", "behaviour"),
}
# Units that stand behind the name: `Start Time (s)`, `start_ms`, `Begin Time - hh:mm:ss.ms`. A clock says itself what
# it means; frames need a rate.
_CLOCK_UNITS = ("hh:mm:ss.ms", "hh:mm:ss.mmm", "hh:mm:ss", "h:mm:ss", "mm:ss", "m:ss", "timecode")
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "ss.msec", *_CLOCK_UNITS), "s"),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds", "millis"), "ms"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("frame", "frames", "frame_number", "frame_no", "hh:mm:ss:ff"), "frames"),
}
_FACTORS = {"s": 1.0, "ms": 0.001, "min": 60.0}
_NUMBER = r"(\d+\.?\d*|\.\d+)"
_SECONDS = re.compile(rf"[+-]?{_NUMBER}([eE][+-]?\d+)?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:\.\d*)?)", re.ASCII)
_TIMECODE = re.compile(r"(\d+):(\d{1,2}):(\d{1,2})[:;](\d{1,3})", re.ASCII)
_WORDS = re.compile(
    rf"(?:{_NUMBER}\s*h(?:ours?|rs?)?)?\s*(?:{_NUMBER}\s*m(?:in(?:ute)?s?)?)?\s*(?:{_NUMBER}\s*s(?:ec(?:ond)?s?)?)?",
    re.ASCII | re.IGNORECASE,
)
_MILLISECONDS = re.compile(rf"{_NUMBER}\s*m(?:illi)?s(?:ec(?:ond)?s?)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """What a column holds."""

    name: str  # a key of `COLUMNS`
    rank: int  # 0 for a name of `COLUMNS`, more for one that is taken only where there is no such column
    unit: str = "s"  # s, ms, min or frames


@functools.lru_cache(maxsize=1024)  # keys of JSON are the same in each record
def column(written: str) -> Column | None:
    """What the name of a column means, or None.

    >>> column("Start Time (s)"), column("end_ms"), column("notes")
    (Column(name='start', rank=0, unit='s'), Column(name='end', rank=2, unit='ms'), None)
    """
    text = written.strip().lower()
    if text in _PLAIN:
        return _PLAIN[text]
    bracketed = re.fullmatch(r"(.+?)\s*[\[(]\s*(?:in\s+)?([^\])]+?)\s*[\])]|(.+?)\s+-\s+(\S+)|(.+?)\s+in\s+(\w+)", text)
    if bracketed:
        name, unit = (part for part in bracketed.groups() if part is not None)
        plain, known = _PLAIN.get(_joined(name)), _UNITS.get(_joined(unit)) or _UNITS.get(unit.replace(" ", ""))
        if plain is None:
            return None
        return Column(plain.name, 2 + plain.rank if known == "frames" else plain.rank, known or "s")
    joined = _joined(text)
    if joined in _PLAIN:
        return _PLAIN[joined]
    # start_ms, start_frame, frame_start, starttime
    for unit_name, unit in _UNITS.items():
        for name in (joined.removesuffix(f"_{unit_name}"), joined.removeprefix(f"{unit_name}_")):
            if name != joined and name in _PLAIN:
                return Column(_PLAIN[name].name, 2 + _PLAIN[name].rank, unit)
    return _PLAIN.get(re.sub(r"(?<=[a-z])(time|id|name|sec)$", r"_\1", joined))


def choose(written: Iterable[str]) -> dict[str, tuple[str, Column]]:
    """Which columns are taken: by meaning, the name as it is written and what it holds."""
    chosen: dict[str, tuple[str, Column]] = {}
    for name in written:
        found = column(name)
        if found and (found.name not in chosen or found.rank < chosen[found.name][1].rank):
            chosen[found.name] = (name, found)
    return chosen


def parse_time(text: str, *, unit: str = "s", fps: float | None = None) -> float:
    """Seconds of a time as people write it.

    Args:
        text: a number, a clock (``m:ss``, ``h:mm:ss``) with fractions of a second after a point or comma, or with
            units (``1m20s``, ``5 s``, ``500 ms``).
        unit: of a plain number: s, ms, min or frames.
        fps: frames a second, for numbers of frames and ``hh:mm:ss:ff``.

    Raises:
        ValueError: it is none of these, or frames are counted and no rate is known.

    >>> parse_time("83.5"), parse_time("1:23,5"), parse_time("1:00:05"), parse_time("1m20s"), parse_time("5", unit="ms")
    (83.5, 83.5, 3605.0, 80.0, 0.005)
    """
    text = " ".join(text.split())  # no-break blanks, too
    number = text.replace(",", ".", 1) if text.count(",") == 1 and "." not in text else text
    if _SECONDS.fullmatch(number):
        if unit == "frames":
            return float(number) / _rate(fps, text)
        # A division is exact to the last bit where a product with 0.001 is not.
        return float(number) / 1000 if unit == "ms" else float(number) * _FACTORS[unit]
    if parts := _CLOCK.fullmatch(number):
        hours, minutes, seconds = int(parts[1] or 0), int(parts[2]), float(parts[3])
        if seconds < 60 and (parts[1] is None or minutes < 60):
            return 3600 * hours + 60 * minutes + seconds
    if parts := _TIMECODE.fullmatch(text):
        hours, minutes, whole, frames = map(int, parts.groups())
        rate = _rate(fps, text)
        if minutes < 60 and whole < 60 and frames < rate + 1:
            return 3600 * hours + 60 * minutes + whole + frames / rate
    if parts := _MILLISECONDS.fullmatch(number):
        return float(parts[1]) / 1000
    if number and (parts := _WORDS.fullmatch(number)) and any(parts.groups()):
        return sum(float(part) * factor for part, factor in zip(parts.groups(), (3600, 60, 1), strict=True) if part)
    raise ValueError(f"{text!r} is no time; seconds (83.5), m:ss (1:23.5) or h:mm:ss (0:01:23.5) was expected")


def _rate(fps: float | None, text: str) -> float:
    if not fps or fps <= 0:
        raise ValueError(
            f"{text!r} counts frames; write seconds, or add a column `fps` with the frames a second of each video"
        )
    return fps


def _joined(text: str) -> str:
    return re.sub(r"[^\w:.]+", "_", text).strip("_")


_PLAIN = {
    **{name: Column(own, 1) for own, names in _LOOSE.items() for name in names},
    **{name: Column(own, 0) for own, names in COLUMNS.items() for name in names},
}
