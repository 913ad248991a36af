"""Moments as other programs take them: CSV, SubRip, edit decision lists, JSON lines; and clips of all of them."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vmr.errors import ConfigError, VideoError
from vmr.locate.answers import Answer, Hit, Search, one_line
from vmr.locate.drawing import cut_clip
from vmr.locate.settings import Format
from vmr.video.ffprobe import choose_stream, probe, tag_of

CSV_COLUMNS = ("video", "query", "rank", "start_sec", "end_sec", "score")
_RATE = 25  # frames a second of an edit decision list where nobody knows the video's
_PROBE_TIMEOUT_SEC = 60.0
_TIME_CODE = re.compile(r"\d\d:\d\d:\d\d[:;.]\d\d+")


def written(answers: Sequence[Answer | Search], form: Format, *, curve: bool) -> str:
    """Answers in one of the forms that programs take.

    Args:
        curve: of `json`: with the long curves.

    Raises:
        ConfigError: see `srt_text`.
    """
    if form == "json":
        plain = (each.plain(curve=curve) if isinstance(each, Answer) else each.plain() for each in answers)
        return "".join(json.dumps(values, ensure_ascii=False) + "\n" for values in plain)
    writers = {"csv": csv_text, "srt": srt_text, "edl": edl_text}
    return writers[form](hit for answer in answers for hit in answer.rows())


def csv_text(hits: Iterable[Hit]) -> str:
    """A row a moment; a refused query has none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for hit in hits:
        times = (f"{hit.moment.start_sec:.3f}", f"{hit.moment.end_sec:.3f}", f"{hit.moment.score:.4f}")
        writer.writerow((hit.video, hit.query, hit.rank, *times))
    return text.getvalue()


def srt_text(hits: Iterable[Hit]) -> str:
    """Subtitles of one video: while a moment lasts, its sentence stands in the picture.

    Raises:
        ConfigError: the moments lie in several videos.
    """
    hits = sorted(hits, key=lambda hit: (hit.moment.start_sec, hit.moment.end_sec))
    if len(videos := {hit.video for hit in hits}) > 1:
        raise ConfigError(
            f"--format srt: expected moments of one video, which subtitles belong to, found {len(videos)} videos. Ask "
            "them one by one, or take csv, edl or json."
        )
    return "\n".join(
        f"{number}\n{_srt_time(hit.moment.start_sec)} --> {_srt_time(hit.moment.end_sec)}\n"
        f"{one_line(hit.query)} ({hit.rank})\n"
        for number, hit in enumerate(hits, start=1)
    )


def edl_text(hits: Iterable[Hit]) -> str:
    """An edit decision list (CMX 3600): all moments one after the other, with the names of their files as comments.

    Times of a source are those of its own time code, which begins at zero where it has none.
    """
    lines, at = ["TITLE: vmr locate", "FCM: NON-DROP FRAME"], Fraction(0)
    clocks: dict[str, Clock] = {}
    for number, hit in enumerate(hits, start=1):
        if hit.video not in clocks:
            clocks[hit.video] = clock_of(Path(hit.video))
        clock, start, end = clocks[hit.video], Fraction(hit.moment.start_sec), Fraction(hit.moment.end_sec)
        record = Clock(clock.rate)
        times = [clock.at(start), clock.at(end), record.at(at), record.at(at + end - start)]
        lines.append(f"\n{number:03d}  AX       V     C        {' '.join(times)}")
        lines += [f"* FROM CLIP NAME: {one_line(Path(hit.video).name)}", f"* COMMENT: {one_line(hit.query)}"]
        at += end - start
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Clock:
    """How the frames of a video are numbered: its time code."""

    rate: Fraction  # frames a second; they are counted at the next whole rate, 29.97 as 30
    begin: str = "00:00:00:00"  # number of the first frame; ``;`` before its last part: drop-frame, see `_dropped`

    def at(self, seconds: Fraction) -> str:
        """Time code of the frame at some seconds from the beginning.

        >>> Clock(Fraction(25)).at(Fraction(3661)), Clock(Fraction(30000, 1001)).at(Fraction(1, 2))
        ('01:01:01:00', '00:00:00:15')
        >>> Clock(Fraction(25), "10:00:00:00").at(Fraction(2))
        '10:00:02:00'
        """
        counted = -(-self.rate.numerator // self.rate.denominator)
        hours, minutes, full, frames = map(int, re.split("[:;.]", self.begin))
        drops = ";" in self.begin
        minutes += 60 * hours
        number = (60 * minutes + full) * counted + frames + round(seconds * self.rate)
        if drops:
            number = _with_dropped(number - _dropped(minutes, counted), counted)
        whole, frame = divmod(number, counted)
        return f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{';' if drops else ':'}{frame:02d}"


def _dropped(minutes: int, counted: int) -> int:
    """Numbers that drop-frame time code leaves out before a minute: the first two (of 60: four) of nine in ten."""
    return counted // 15 * (minutes - minutes // 10)


def _with_dropped(number: int, counted: int) -> int:
    """The number of a frame once those that are left out are counted too (SMPTE 12M)."""
    minutes = 0
    while number + _dropped(minutes, counted) >= 60 * counted * (minutes + 1):
        minutes += 1
    return number + _dropped(minutes, counted)


def clock_of(video: Path) -> Clock:
    """Rate and time code of a video, as ffprobe tells them; 25 frames a second, and from zero, where it does not."""
    try:
        described = probe(video, timeout_sec=_PROBE_TIMEOUT_SEC)
        stream = choose_stream(described.get("streams", [])) or {}
        rate = Fraction(str(stream.get("avg_frame_rate")))
    except (VideoError, OSError, ValueError, ZeroDivisionError):
        return Clock(Fraction(_RATE))
    codes = [tag_of(each, "timecode") or "" for each in (stream, *described["streams"], described["format"])]
    begin = next(filter(_TIME_CODE.fullmatch, codes), Clock.begin)
    return Clock(rate if rate > 0 else Fraction(_RATE), begin)


def cut_clips(hits: Iterable[Hit], folder: Path, *, queries: Sequence[str]) -> list[Path]:
    """Every moment as a video, `film_1.mp4` the best one; of a further query `film_q2_1.mp4`.

    Args:
        queries: all that were asked, whose numbers the names have.

    Raises:
        VideoError: a file of such a name is there already, or ffmpeg is missing or fails.
    """
    made: dict[Path, Hit] = {}
    for hit in hits:
        number = queries.index(hit.query) + 1
        query = f"_q{number}" if number > 1 else ""
        path = folder / f"{Path(hit.video).stem}{query}_{hit.rank}.mp4"
        while path in made:  # of a film with the same name in another folder
            path = path.with_stem(f"{path.stem}_")
        made[path] = hit
    there = [path for path in made if path.exists()]
    if there:  # films of cameras have such names, too
        raise VideoError(
            f"{there[0]}: is there already, so that no clip was written. Name another folder, or move the file away."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, hit in made.items():
        cut_clip(Path(hit.video), hit.moment.start_sec, hit.moment.end_sec, path)
    return list(made)


def _srt_time(seconds: float) -> str:
    thousandths = round(1000 * seconds)
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"
