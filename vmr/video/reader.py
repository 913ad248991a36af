"""Frames of one video at a fixed rate, by time stamp, into the compact stream: decord first, ffmpeg when in doubt."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import ffmpeg
import numpy as np

from vmr.errors import ShardError, VideoError
from vmr.video.ffprobe import Prober, child_environment
from vmr.video.stream import RESIZING, count_frames, encoded_output
from vmr.video.timeline import Timeline, read_timeline, steps_in

_FRAME_LINE = re.compile(rb"\] n: *\d+ pts: *\S+ pts_time:(\S+)")
_COMPLAINT = re.compile(r"error|invalid|fail|cannot|unsupported|unknown", re.IGNORECASE)
_DECORD_NOISE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: |\(-?\d+ vs\. -?\d+\) | @ 0x[0-9a-f]+")
# Beyond this the packets contradict the container, as when a clock is reset in the middle of a recording.
_MAX_STRETCH = 1.5
_MISSING_END_SEC = 0.25  # lengths are rounded up by a frame or so, and sound lasts a little longer
_MAX_SIDE = 8192
_RESIZE_ABOVE = 2.5  # times the area that is kept


@dataclass(frozen=True)
class Picture:
    """What the probe says about a video.

    Attributes:
        path: the file.
        width: as displayed, after rotation.
        height: as displayed.
        rotation: degrees by which a player turns the picture.
        duration_sec: from the beginning of the file's timeline to the end of the video.
    """

    path: Path
    width: int
    height: int
    rotation: int
    duration_sec: float


@dataclass(frozen=True)
class DecodedVideo:
    """Result of decoding: how many frames were kept, of which size, and by whom."""

    num_frames: int
    width: int
    height: int
    duration_sec: float
    decoder: str
    note: str


def kept_size(width: int, height: int, *, short_side: int) -> tuple[int, int]:
    """Width and height with the given short side, even, as H.264 wants them.

    Raises:
        VideoError: the picture is too elongated.

    >>> kept_size(480, 270, short_side=256)
    (456, 256)
    >>> kept_size(320, 568, short_side=256)
    (256, 454)
    """
    scale = short_side / min(width, height)
    size = max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))
    if max(size) > _MAX_SIDE:
        raise VideoError(f"the picture of {width}x{height} is too elongated for a short side of {short_side}")
    return size


def decode_video(
    prober: Prober, picture: Picture, *, target: Path, fps: float, short_side: int, timeout_sec: float
) -> DecodedVideo:
    """Decode a video to `fps` frames a second and encode them into `target`.

    Frame i is the last one whose presentation time is at or before i / fps after the beginning of the timeline.

    Args:
        prober: runs ffprobe.
        picture: the file and its probed facts.
        target: file for the encoded stream.
        fps: frames a second to keep.
        short_side: of the kept frames, in pixels.
        timeout_sec: seconds for each of the two decoders.

    Raises:
        VideoError: neither decoder gives frames.
        ShardError: the disk is full, or ffmpeg or its H.264 encoder is missing.
    """
    timeline = read_timeline(prober, picture.path, timeout_sec=timeout_sec)
    if timeline.end_sec > _MAX_STRETCH * picture.duration_sec + 10:
        raise VideoError(
            f"the time stamps run to {timeline.end_sec:.1f} s, but the file declares {picture.duration_sec:.1f} s"
        )
    job = _Job(picture, timeline, target, fps, kept_size(picture.width, picture.height, short_side=short_side))
    note = timeline.doubt
    if not note:
        try:
            return job.result(_decode_with_decord(job, timeout_sec=timeout_sec), decoder="decord", note="")
        except VideoError as error:
            note = str(error)
    decoded = _decode_with_ffmpeg(job, timeout_sec=timeout_sec)
    return job.result(decoded[0], decoder="ffmpeg", note="; ".join(filter(None, [note, decoded[1]])))


@dataclass(frozen=True)
class _Job:
    picture: Picture
    timeline: Timeline
    target: Path
    fps: float
    size: tuple[int, int]

    def encode(self, frames: Any, *, num_frames: int) -> Any:
        width, height = self.size
        return encoded_output(
            frames, path=str(self.target), width=width, height=height, num_frames=num_frames, fps=self.fps
        )

    def result(self, num_frames: int, *, decoder: str, note: str) -> DecodedVideo:
        end = self.timeline.end_sec
        declared = max(self.picture.duration_sec, self.timeline.container_end_sec)
        if end < declared - _MISSING_END_SEC:
            note = "; ".join(filter(None, [note, f"the picture ends at {end:.2f} of {declared:.2f} s"]))
        return DecodedVideo(
            num_frames=num_frames,
            width=self.size[0],
            height=self.size[1],
            duration_sec=min(end, num_frames / self.fps),
            decoder=decoder,
            note=note,
        )


def _decode_with_decord(job: _Job, *, timeout_sec: float) -> int:
    timeline = job.timeline
    indices = timeline.frame_indices(job.fps)
    # Measured: for small pictures the encoder resizes faster than decord; large ones are slow to hand over in full.
    # decord resizes before it turns the picture, so turned ones are always handed over in full.
    native = (job.picture.width, job.picture.height)
    resize = not job.picture.rotation and math.prod(native) > _RESIZE_ABOVE * math.prod(job.size)
    given = job.size if resize else native
    plan = {
        "path": str(job.picture.path.absolute()),
        "times_sec": timeline.times_sec.tolist(),
        "repeats": np.bincount(indices, minlength=len(timeline.times_sec)).tolist(),
        "width": given[0],
        "height": given[1],
        "resize": resize,
        "timeout_sec": timeout_sec,
    }
    source = {"format": "rawvideo", "pix_fmt": "rgb24", "s": f"{given[0]}x{given[1]}", "framerate": job.fps}
    frames = ffmpeg.input("pipe:0", **source)
    encode = job.encode(frames.video, num_frames=len(indices))
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as plan_file:
        json.dump(plan, plan_file)
        plan_file.flush()
        decode = [sys.executable, "-m", "vmr.video.decord_child", plan_file.name]
        _run([decode, _command(encode, "error")], timeout_sec=timeout_sec)
    return len(indices)


def _decode_with_ffmpeg(job: _Job, *, timeout_sec: float) -> tuple[int, str]:
    timeline = job.timeline
    # The `fps` filter rounds time stamps up to the next step, so that a step shows the last frame at or before it.
    origin = f"{timeline.origin_sec * 1e6:.0f}" if timeline.has_times else "STARTPTS"
    shifted = f"PTS-({origin})-{timeline.rounding_sec * 1e6:.0f}"
    # Without reinit_filter=0, a picture that changes its size would make the `fps` filter count from zero again.
    options = {"threads": 1, "protocol_whitelist": "file", "reinit_filter": 0}
    frames = ffmpeg.input(f"file:{job.picture.path.absolute()}", **options)
    frames = frames[str(timeline.stream_index)].filter("showinfo", checksum=0)
    frames = frames.filter("settb", "1/1000000").filter("setpts", shifted)
    if timeline.last_duration_sec > 1 / job.fps:
        frames = frames.filter("tpad", stop_mode="clone", stop_duration=timeline.last_duration_sec)
    frames = frames.filter("fps", job.fps, round="up", start_time=0)
    # Through RGB, by the very conversion that decord does, whatever matrix and range the source declares.
    frames = frames.filter("scale", *job.size, flags=RESIZING).filter("format", "rgb24")
    steps = timeline.num_steps(job.fps)
    encode = job.encode(frames, num_frames=steps)
    log = _run([_command(encode.global_args("-copyts"), "info")], timeout_sec=timeout_sec)
    times = [float(found) for found in _FRAME_LINE.findall(log) if found != b"NOPTS"]
    if not times:
        raise VideoError(f"no frame can be decoded: {_last_words(log)}")
    decoded_end = max(times) - (timeline.origin_sec if timeline.has_times else min(times)) + timeline.last_duration_sec
    kept = count_frames(job.target.read_bytes())
    note = "" if len(times) >= len(timeline.times_sec) else f"{len(times)} of {len(timeline.times_sec)} frames decode"
    if kept < min(steps, steps_in(decoded_end, job.fps)):
        note = "; ".join(filter(None, [note, f"only {kept} of {steps} steps could be filled"]))
    return kept, note


def _command(output: Any, level: str) -> list[str]:
    command: list[str] = ffmpeg.compile(output.global_args("-nostdin", "-nostats", "-hide_banner", "-v", level))
    if "pipe:0" in command:
        command.remove("-nostdin")
    return command


def _run(commands: list[list[str]], *, timeout_sec: float) -> bytes:
    """Run a pipeline, each command's output going to the next one; the last one's messages.

    Raises:
        VideoError: a command fails, or the time is over; nothing is left running.
        ShardError: the disk is full or a program is missing.
    """
    deadline = time.monotonic() + timeout_sec
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in commands]
        try:
            for command, log in zip(commands, logs, strict=True):
                source = processes[-1].stdout if processes else subprocess.DEVNULL
                target = subprocess.DEVNULL if log is logs[-1] else subprocess.PIPE
                processes.append(
                    subprocess.Popen(command, stdin=source, stdout=target, stderr=log, env=child_environment())
                )
                if not isinstance(source, int) and source is not None:
                    # Ours must be closed, or the first command would never learn that the second has gone.
                    source.close()
            for process in reversed(processes):
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise VideoError(f"decoding took longer than {timeout_sec:.0f} s") from error
        except FileNotFoundError as error:
            raise ShardError(f"{error.filename} was not found on the PATH. Install ffmpeg.") from error
        finally:
            for process in processes:
                process.kill()
                process.wait()
        messages = [_content(log) for log in logs]
    _raise_failure(processes, messages)
    return messages[-1]


def _content(log: IO[bytes]) -> bytes:
    log.seek(0)
    return log.read()


def _raise_failure(processes: list[subprocess.Popen[bytes]], messages: list[bytes]) -> None:
    if any(b"No space left on device" in message for message in messages):
        raise ShardError("the disk is full. Free some space and start again: finished videos are kept.")
    for process, message in zip(processes, messages, strict=True):
        if process.returncode < 0:
            raise VideoError(f"the decoder was killed by signal {-process.returncode}: {_last_words(message)}")
        if process.returncode:
            raise VideoError(_last_words(message))


def _last_words(message: bytes) -> str:
    lines = [line.strip() for line in message.decode("utf-8", errors="replace").splitlines() if line.strip()]
    # ffmpeg ends with "Conversion failed!", whatever it was; the reason is somewhere above.
    telling = [line for line in lines if _COMPLAINT.search(line) and line != "Conversion failed!"]
    if not lines:
        return "it ended without a word"
    # The clock and the stray numbers in decord's messages would make every manifest differ from the last.
    return _DECORD_NOISE.sub("", (telling or lines)[-1])[:300]
