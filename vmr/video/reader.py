"""Frames of one video at a fixed rate, by time stamp, into the compact stream: decord first, ffmpeg when in doubt."""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vmr.errors import VideoError
from vmr.names import FrameChoice
from vmr.video.containers import SAFE_INPUT
from vmr.video.processes import DecordServer, Pipeline, last_words
from vmr.video.stream import RESIZING, StreamScan, command_line, encoded_output, input_node
from vmr.video.timeline import Timeline, read_timeline, steps_in

_FRAME_LINE = re.compile(rb"\] n: *\d+ pts: *\S+ pts_time:(\S+)")
_CHECKSUM = re.compile(rb"\] n: *\d+ .*? checksum:(\S+)")
# Beyond this the packets contradict the container, as when a clock is reset in the middle of a recording.
_MAX_STRETCH = 1.5
_MISSING_END_SEC = 0.25  # lengths are rounded up by a frame or so, and sound lasts a little longer
_LATER_END_SEC = 0.1  # as much later than declared the end of a few frames may be
_FRAME_SEC = 5.0
_MAX_SIDE = 8192
_MAX_ASPECT = 4.0  # of a pixel; no format goes beyond 2, damaged headers do
_RESIZE_ABOVE = 2.5  # times the area that is kept
_READ_BYTES = 1 << 20
# Filters of ffmpeg by degrees clockwise.
_TURNS: dict[int, tuple[tuple[str, dict[str, str]], ...]] = {
    90: (("transpose", {"dir": "clock"}),),
    180: (("hflip", {}), ("vflip", {})),
    270: (("transpose", {"dir": "cclock"}),),
}


@dataclass(frozen=True)
class Picture:
    """What the probe says about a video."""

    path: Path
    width: int  # in pixels of the file, after rotation
    height: int  # in pixels of the file, after rotation
    rotation: int  # degrees by which a player turns the picture
    duration_sec: float  # from the beginning of the file's timeline to the end of the video


@dataclass(frozen=True)
class DecodedVideo:
    """Result of decoding: how many frames were kept, of which size, and by whom."""

    num_frames: int  # frames kept
    width: int  # of a frame, in pixels
    height: int  # of a frame, in pixels
    duration_sec: float  # seconds that the frames cover
    video_sec: float  # how long the video is: as declared, or what the frames cover where that is longer
    decoder: str  # ``decord`` or ``ffmpeg``
    note: str  # what is unusual about the video


def kept_size(width: int, height: int, *, short_side: int, pixel_aspect: float = 1.0) -> tuple[int, int]:
    """Width and height with the given short side, even, as H.264 wants them.

    Args:
        short_side: in pixels to keep, which are square.
        pixel_aspect: width of one of its own pixels over their height.

    Raises:
        VideoError: the picture is too elongated.

    >>> kept_size(480, 270, short_side=256)
    (456, 256)
    >>> kept_size(320, 568, short_side=256)
    (256, 454)
    >>> kept_size(720, 576, short_side=288, pixel_aspect=16 / 15)
    (384, 288)
    """
    shown = width * pixel_aspect
    scale = short_side / min(shown, height)
    size = max(2, 2 * round(shown * scale / 2)), max(2, 2 * round(height * scale / 2))
    if max(size) > _MAX_SIDE:
        raise VideoError(f"the picture of {width}x{height} is too elongated for a short side of {short_side}")
    return size


def stretched_size(picture: Picture, timeline: Timeline, *, short_side: int) -> tuple[int, int]:
    """Width and height to keep of a video, whose pixels need not be square (DV, DVD, anamorphic films).

    Raises:
        VideoError: the picture is too elongated.
    """
    aspect = timeline.pixel_aspect if _aspect_is_meant(timeline) else 1.0
    if picture.rotation in (90, 270):
        aspect = 1 / aspect
    return kept_size(picture.width, picture.height, short_side=short_side, pixel_aspect=aspect)


def _aspect_is_meant(timeline: Timeline) -> bool:
    return 1 / _MAX_ASPECT <= timeline.pixel_aspect <= _MAX_ASPECT


def decode_video(
    decord: DecordServer,
    picture: Picture,
    *,
    target: Path,
    fps: float,
    frame_choice: FrameChoice,
    short_side: int,
    timeout_sec: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DecodedVideo:
    """Decode a video to `fps` frames a second and encode them into `target`.

    Frame i is the last one that is not late for i / fps seconds after the beginning of the timeline, by the rule of
    `Timeline.late_sec`.

    Args:
        timeout_sec: for each of the two decoders, of each minute that the video lasts or begins. A frame counts for
            five seconds at the most, so that a few that claim hours do not get days.

    Raises:
        VideoError: neither decoder gives frames.
        ShardError: ffmpeg is missing.
        OSError: the disk is full.
    """
    timeline = read_timeline(picture.path, timeout_sec=_allowed_sec(timeout_sec, picture.duration_sec))
    if timeline.end_sec > _MAX_STRETCH * picture.duration_sec + 10:
        raise VideoError(
            f"the time stamps run to {timeline.end_sec:.1f} s, but the file declares {picture.duration_sec:.1f} s"
        )
    size = stretched_size(picture, timeline, short_side=short_side)
    frames = len(timeline.times_sec)
    timeout_sec = _allowed_sec(timeout_sec, min(picture.duration_sec, frames * _FRAME_SEC))
    job = _Job(picture, timeline, target, fps, frame_choice, size, progress)
    note = timeline.doubt
    if not note:
        try:
            return job.result(_decode_with_decord(job, decord, timeout_sec=timeout_sec), decoder="decord", note="")
        except VideoError as error:
            note = str(error)
    try:
        kept, own_note = _decode_with_ffmpeg(job, timeout_sec=timeout_sec)
    except VideoError as error:
        claim = (
            f"; its {frames} frames claim {timeline.end_sec:.0f} s" if timeline.end_sec > frames * _FRAME_SEC else ""
        )
        raise VideoError(f"{error}{claim} (before that: {note})") from error
    return job.result(kept, decoder="ffmpeg", note="; ".join(filter(None, [note, own_note])))


def _allowed_sec(timeout_sec: float, duration_sec: float) -> float:
    return timeout_sec * max(1.0, duration_sec / 60)


@dataclass(frozen=True)
class _Job:
    picture: Picture
    timeline: Timeline
    target: Path
    fps: float
    choice: FrameChoice
    size: tuple[int, int]
    progress: Callable[[int, int], None]

    def encode(self, frames: Any) -> Any:
        return encoded_output(frames, width=self.size[0], height=self.size[1])

    def source(self, *, checksum: bool) -> Any:
        """Node of ffmpeg's frames, each of which is a line of its log, with a checksum of the picture or without."""
        # Without reinit_filter=0, a picture that changes its size would make the `fps` filter count from zero again.
        options = {"threads": 1, "reinit_filter": 0, **SAFE_INPUT}
        if not self.timeline.mirrored:
            options["noautorotate"] = None  # it would turn by the display matrix, but not by the older tag
        node = input_node(f"file:{self.picture.path.absolute()}", **options)
        return node[str(self.timeline.stream_index)].filter("showinfo", checksum=int(checksum))

    def keep(self, pipeline: Pipeline) -> tuple[int, tuple[bytes, bytes]]:
        """Write what the encoder gives; number of frames, and what was said."""
        scan, steps = StreamScan(), self.timeline.num_steps(self.fps)
        buffer = memoryview(bytearray(_READ_BYTES))
        with self.target.open("wb") as file:
            while got := pipeline.readinto(buffer):
                scan.feed(buffer[:got])
                file.write(buffer[:got])
                self.progress(scan.num_frames, steps)
        return scan.num_frames, pipeline.finish()

    def result(self, num_frames: int, *, decoder: str, note: str) -> DecodedVideo:
        notes, end, probed_sec = [note] if note else [], self.timeline.end_sec, self.picture.duration_sec
        declared = max(probed_sec, self.timeline.container_end_sec)
        if end < declared - _MISSING_END_SEC:
            notes.append(f"the picture ends at {end:.2f} of {declared:.2f} s")
        kept_sec = min(end, num_frames / self.fps)
        longer = kept_sec > probed_sec + _LATER_END_SEC
        if longer:
            notes.append(f"the picture lasts {kept_sec:.2f} s, though the file declares {probed_sec:.2f} s")
        if self.timeline.pixel_aspect != 1:
            way = "stretched" if _aspect_is_meant(self.timeline) else "taken for square ones"
            notes.append(f"pixels {self.timeline.pixel_aspect:.3g} times as wide as high are {way}")
        return DecodedVideo(
            num_frames=num_frames,
            width=self.size[0],
            height=self.size[1],
            duration_sec=kept_sec,
            video_sec=round(kept_sec, 6) if longer else probed_sec,
            decoder=decoder,
            note="; ".join(notes),
        )


def hands_over_native(picture: Picture, size: tuple[int, int]) -> bool:
    """Whether a decoder hands frames over in full instead of resizing them itself.

    Measured: small pictures are resized faster by the encoder; large ones are slow to hand over in full. decord
    resizes before it turns the picture, so turned ones are always handed over in full.
    """
    return bool(picture.rotation) or picture.width * picture.height <= _RESIZE_ABOVE * math.prod(size)


def decord_plan(
    picture: Picture,
    timeline: Timeline,
    *,
    fps: float,
    choice: FrameChoice,
    size: tuple[int, int],
    timeout_sec: float,
    threads: int = 1,
) -> tuple[dict[str, Any], tuple[int, int]]:
    """What decord is to do (see `vmr.video.decord_server`), and width and height of the frames that it gives."""
    indices = timeline.frame_indices(fps, choice)
    native = hands_over_native(picture, size)
    given = (picture.width, picture.height) if native else size
    plan = {
        "path": str(picture.path.absolute()),
        "times_sec": timeline.times_sec.tolist(),
        "repeats": np.bincount(indices, minlength=len(timeline.times_sec)).tolist(),
        "width": given[0],
        "height": given[1],
        "resize": not native,
        "alarm_sec": timeout_sec,
        "threads": threads,
    }
    return plan, given


def _decode_with_decord(job: _Job, decord: DecordServer, *, timeout_sec: float) -> int:
    plan, (width, height) = decord_plan(
        job.picture, job.timeline, fps=job.fps, choice=job.choice, size=job.size, timeout_sec=timeout_sec
    )
    steps = sum(plan["repeats"])
    source = {"format": "rawvideo", "pix_fmt": "rgb24", "s": f"{width}x{height}", "framerate": job.fps}
    encode = job.encode(input_node("pipe:0", **source).video)
    with Pipeline(timeout_sec=timeout_sec) as pipeline:
        pipeline.add_decord(decord, plan)
        pipeline.add_command(command_line(encode, "error"))
        kept, (same, _) = job.keep(pipeline)
    if kept != steps:
        raise VideoError(f"decord's frames gave {kept} of {steps} steps")
    # A frame that decord lost adds one to the same frames at the end.
    if same != b"1" and int(same or 0) != _still_frames(job, timeout_sec=timeout_sec):
        raise VideoError("the last frames are the same: some may be lost")
    return kept


def _still_frames(job: _Job, *, timeout_sec: float) -> int:
    """How many frames at the end are the same for ffmpeg; nothing is encoded for this."""
    with Pipeline(timeout_sec=timeout_sec) as pipeline:
        frames = job.source(checksum=True).output("pipe:1", format="null")
        pipeline.add_command(command_line(frames, "info"))
        while pipeline.readinto(memoryview(bytearray(1))):
            pass
        _, log = pipeline.finish()
    checksums = _CHECKSUM.findall(log)
    return len(list(itertools.takewhile(checksums[-1:].__contains__, reversed(checksums))))


def _decode_with_ffmpeg(job: _Job, *, timeout_sec: float) -> tuple[int, str]:
    timeline = job.timeline
    # The `fps` filter rounds time stamps up to the next step, so that a step shows the last frame that is not too late.
    origin = f"{timeline.origin_sec * 1e6:.0f}" if timeline.has_times else "STARTPTS"
    counted = f"PTS-({origin})"
    if timeline.counted_frames:
        begin_us, frame_us = timeline.times_sec[0] * 1e6, timeline.frame_sec * 1e6
        by_count = f"{begin_us:.0f}+N*{frame_us!r}"
        every = timeline.counted_frames == len(timeline.times_sec)
        counted = by_count if every else f"if(lt(N,{timeline.counted_frames}),{by_count},{counted})"
    shifted = f"{counted}-({timeline.late_sec(job.fps, job.choice) * 1e6:.0f})"
    frames = job.source(checksum=False).filter("settb", "1/1000000")
    # The filter ends with the shifted time of the last frame's end, or with its beginning where nothing says an end.
    # Some versions of `setpts` forget the frame rate, by which `tpad` counts.
    lasting = timeline.last_duration_sec + (1 / job.fps if job.choice == "nearest" else 0)
    if lasting > 1 / job.fps:
        frames = frames.filter("tpad", stop_mode="clone", stop_duration=lasting)
    steps = timeline.num_steps(job.fps)
    frames = frames.filter("setpts", shifted).filter("fps", job.fps, round="up", start_time=0)
    # What comes after the last step is decoded all the same, so that frames that are missing are noticed.
    frames = frames.filter("select", f"lt(n,{steps})")
    for name, arguments in () if timeline.mirrored else _TURNS.get(job.picture.rotation, ()):
        frames = frames.filter(name, **arguments)
    # Through RGB, by the very conversion that decord does, whatever matrix and range the source declares; it is fast
    # for equal sizes only.
    if not hands_over_native(job.picture, job.size):
        frames = frames.filter("scale", *job.size, flags=RESIZING).filter("format", "yuv420p")
    frames = frames.filter("scale", flags=RESIZING).filter("format", "rgb24")
    with Pipeline(timeout_sec=timeout_sec) as pipeline:
        pipeline.add_command(command_line(job.encode(frames).global_args("-copyts"), "info"))
        kept, (_, log) = job.keep(pipeline)
    times = [float(found) for found in _FRAME_LINE.findall(log) if found != b"NOPTS"]
    if timeline.counted_frames == len(timeline.times_sec):
        times = [number * timeline.frame_sec for number, _ in enumerate(_FRAME_LINE.findall(log))]
    if not times:
        raise VideoError(f"no frame can be decoded: {last_words(log)}")
    decoded_end = max(times) - (timeline.origin_sec if timeline.has_times else min(times)) + timeline.last_duration_sec
    note = "" if len(times) >= len(timeline.times_sec) else f"{len(times)} of {len(timeline.times_sec)} frames decode"
    if kept < min(steps, steps_in(decoded_end, job.fps)):
        note = "; ".join(filter(None, [note, f"only {kept} of {steps} steps could be filled"]))
    return kept, note
