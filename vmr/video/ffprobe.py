"""ffprobe with a time limit, and what its answers say about a video stream."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from vmr.errors import ShardError, VideoError
from vmr.video.containers import SAFE_INPUT
from vmr.video.pipes import LONGEST_WAIT_SEC, confine, readable

# Whatever a strange file provokes in us becomes a reason of its own, and the other videos of a shard go on.
SURPRISES = (OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError, RecursionError)

_REFUSED = re.compile(r"^\[(\S+) @ \S+\] Format not on whitelist", re.MULTILINE)
_LARGEST_ANSWER = 512 << 20  # bytes; what is made of them takes four times as much
_PACKET_BYTES = 210  # of a packet's description
_READ_BYTES = 1 << 20
_MAX_ANGLE = 3600  # degrees; a tag can say anything, infinity too


def unexpected(error: BaseException) -> str:
    """Reason for a video in which something happened that nobody foresaw."""
    return f"unexpected {type(error).__name__}: {error}; encode the video anew, or leave it out"


def probe(path: Path | str, *, timeout_sec: float, **options: str) -> dict[str, Any]:
    """What ffprobe says about a file.

    The process ends with this one, however that ends; when it takes too long, all that it started is killed as well.

    Args:
        options: options of ffprobe beyond ``-show_format -show_streams``.

    Raises:
        VideoError: ffprobe cannot read the file, or takes too long.
    """
    file = f"file:{Path(path).absolute()}"
    given = [word for name, value in {**SAFE_INPUT, **options}.items() for word in (f"-{name}", value)]
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", *given, file]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
                preexec_fn=confine,
                bufsize=0,
            )
        except OSError as error:
            raise VideoError(f"ffprobe cannot run: {error}") from error
        with process:
            try:
                answer = _answer(process, timeout_sec)
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
        said.seek(0)
        complaint = said.read().decode("utf-8", errors="replace").strip().replace(f"{file}: ", "")
    if process.returncode:
        if refused := _REFUSED.search(complaint):
            complaint = f"its format {refused[1]!r} is none that holds a video by itself; convert it to mp4"
        raise VideoError(f"ffprobe cannot read it: {(complaint or 'it failed without a word').splitlines()[-1]}")
    result: dict[str, Any] = json.loads(answer)
    return result


def _answer(process: subprocess.Popen[bytes], timeout_sec: float) -> bytearray:
    """What a process prints until it ends, in bounded time and memory."""
    assert process.stdout is not None
    answer, end = bytearray(), time.monotonic() + min(timeout_sec, LONGEST_WAIT_SEC)
    try:
        while readable(process.stdout.fileno(), max(0.0, end - time.monotonic())):
            if not (chunk := process.stdout.read(_READ_BYTES)):
                process.wait(timeout=max(0.0, end - time.monotonic()))
                return answer
            answer += chunk
            if len(answer) > _LARGEST_ANSWER:
                raise VideoError(
                    f"it claims more than {_LARGEST_ANSWER // _PACKET_BYTES / 1e6:.1f} million packets, as no video of "
                    "a day has: encode it anew, or cut it"
                )
    except subprocess.TimeoutExpired:
        pass
    raise VideoError(f"ffprobe gave no answer within {timeout_sec:g} s")


def require_program(name: str) -> None:
    """Stop with a clear line when a program is not installed.

    Raises:
        ShardError: it is not on the PATH.
    """
    if shutil.which(name) is None:
        raise ShardError(f"{name} was not found on the PATH. Install ffmpeg (`apt-get install ffmpeg`).")


def moving_streams(streams: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The video streams that are no cover pictures or thumbnails, of streams as ffprobe describes them."""
    pictures = ("attached_pic", "still_image", "timed_thumbnails")
    return [
        stream
        for stream in streams
        if stream.get("codec_type") == "video" and not any(stream.get("disposition", {}).get(name) for name in pictures)
    ]


def choose_stream(streams: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The stream with moving pictures that players show: the first one marked default, else the first, never a cover
    picture; None where there is none.
    """
    videos = moving_streams(streams)
    default = [stream for stream in videos if stream.get("disposition", {}).get("default")]
    return next(iter(default + videos), None)


def display_rotation(stream: dict[str, Any]) -> int:
    """Degrees clockwise that a player turns the picture: 0, 90, 180 or 270.

    The display matrix, which counts, turns counter-clockwise; the older `rotate` tag clockwise. An angle that is no
    quarter turn, to a degree, is none: see `rotation_doubt`.

    >>> display_rotation({"side_data_list": [{"rotation": -90}]})
    90
    >>> display_rotation({"tags": {"ROTATE": "270"}})
    270
    """
    angles = _angles(stream)
    if not angles or abs(angles[0] - 90 * round(angles[0] / 90)) > 1:
        return 0
    return 90 * round(angles[0] / 90) % 360


def rotation_doubt(stream: dict[str, Any]) -> str:
    """Why decord may turn the picture otherwise than `display_rotation` says; empty where it does not.

    >>> rotation_doubt({"tags": {"rotate": "90"}, "side_data_list": [{"rotation": 90}]})
    'it is to be turned by 270 or 90 degrees'
    """
    tag, angles = tag_of(stream, "rotate"), _angles(stream)
    if tag is not None and _tagged_angle(tag) is None:
        return f"its tag of a rotation, {tag[:20]!r}, is no number"
    if len({angle % 360 for angle in angles}) > 1 or any(angle % 90 for angle in angles):
        return f"it is to be turned by {' or '.join(f'{angle % 360:g}' for angle in angles)} degrees"
    return ""


def tag_of(stream: dict[str, Any], name: str) -> str | None:
    """What a tag says, whatever the case of its name (FFmpeg does not mind it either); None without it."""
    tags = {str(key).upper(): str(value) for key, value in stream.get("tags", {}).items()}
    return tags.get(name.upper())


def _angles(stream: dict[str, Any]) -> list[float]:
    """Clockwise, in degrees: by the display matrix, then by the tag, as far as they are there."""
    matrices = [-float(data["rotation"]) for data in stream.get("side_data_list", []) if "rotation" in data]
    tagged = _tagged_angle(tag_of(stream, "rotate") or "")
    return [angle for angle in (*matrices[:1], tagged) if angle is not None and abs(angle) <= _MAX_ANGLE]


def _tagged_angle(text: str) -> float | None:
    try:
        angle = float(text)
    except ValueError:
        return None
    return angle if abs(angle) <= _MAX_ANGLE else None


def is_mirrored(stream: dict[str, Any]) -> bool:
    """Whether the display matrix mirrors the picture, which decord does not do."""
    for side_data in stream.get("side_data_list", []):
        cells = [int(cell) for row in side_data.get("displaymatrix", "").split("\n") for cell in row.split()[1:]]
        if len(cells) == 9:
            return cells[0] * cells[4] - cells[1] * cells[3] < 0
    return False


def pixel_aspect(stream: dict[str, Any]) -> float:
    """Width of a pixel over its height, as displayed and before any turn; 1 where nothing is said.

    Ratios within a fiftieth of 1 are what resizing to whole pixels leaves behind, and count as 1.

    >>> pixel_aspect({"sample_aspect_ratio": "64:45"})
    1.4222222222222223
    >>> pixel_aspect({"sample_aspect_ratio": "640:639"}), pixel_aspect({"sample_aspect_ratio": "0:1"})
    (1.0, 1.0)
    """
    aspect = rate(str(stream.get("sample_aspect_ratio", "")).replace(":", "/"))
    return aspect if abs(aspect - 1) > 0.02 else 1.0


def rate(text: str | None) -> float:
    """Frames a second out of a fraction such as ``30000/1001``; NaN when unknown.

    >>> rate("30000/1001")
    29.97002997002997
    >>> rate("0/0")
    nan
    """
    try:
        value = float(Fraction(text or "0"))
    except (ValueError, ZeroDivisionError):
        return float("nan")
    return value if value > 0 else float("nan")


def seconds(value: Any) -> float | None:
    """Seconds out of what ffprobe prints: ``31.000000``, or ``00:00:10.333`` in Matroska's tags; None when unknown.

    >>> seconds("00:01:10.5")
    70.5
    """
    try:
        parts = [float(part) for part in str(value).split(":")]
    except ValueError:
        return None
    total = 0.0
    for part in parts:
        total = total * 60 + part
    return total if abs(total) < float("inf") else None


def timeline_origin(container: dict[str, Any], stream: dict[str, Any]) -> float:
    """Where the presentation timeline begins on the file's own clock, in seconds.

    The earliest stream begins it; but sound that begins before zero (the lead-in of its coder, a few milliseconds)
    does not, since players cut it off, and counting from there would shift the choice of every frame.
    """
    begin = seconds(container.get("start_time"))
    own = seconds(stream.get("start_time"))
    if begin is None:
        return own or 0.0
    return begin if begin >= 0 else min(0.0, own or 0.0)
