"""Presentation times of a video's frames, and which frame a player shows at a given second."""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vmr.errors import VideoError
from vmr.names import FrameChoice
from vmr.video.ffprobe import (
    choose_stream,
    is_mirrored,
    moving_streams,
    pixel_aspect,
    probe,
    rotation_doubt,
    seconds,
    tag_of,
    timeline_origin,
)

# Matroska and Flash round time stamps to milliseconds, and an MP4 that was made of one keeps the rounded stamps in its
# own finer ticks. A frame that is due at a step's very instant must not be missed because its stamp was rounded up;
# more than half a millisecond is a real delay. Coarser ticks are no reason for more: frames lie on those exactly.
_ROUNDED_TO_SEC = 1e-3
# In these decord loses the first group of pictures and repeats the last frame instead, which moves every frame (seen
# with 0.6.0 and any codec).
WITHOUT_INDEX = ("mpegts", "mpeg")
# Decoding times never run backwards in the order of the file, however frames are reordered for display; a damaged stamp
# or two may by a few frames, but what goes back further is a clock that was reset, as in files joined byte by byte.
_MAX_BACKWARDS_SEC = 0.5
# What damaged clocks declare beyond this (a frame of 34 years) would take more memory for its steps than there is.
MAX_HOURS = 48
# A tie is a tie whatever floats, and the whole microseconds in which ffmpeg counts, make of it.
_TIE_SEC = 1e-6
_PACKETS = "packet=stream_index,pts,dts,duration,flags"


@dataclass(frozen=True)
class Timeline:
    """When the frames of one video stream are shown, as its packets say (nothing is decoded for this)."""

    stream_index: int  # number of the stream in the file
    # presentation times in seconds from the beginning of the file's timeline, ascending, shape (frames,)
    times_sec: npt.NDArray[np.float64]
    end_sec: float  # when the last frame ends
    last_duration_sec: float  # how long the last frame is shown
    rounding_sec: float  # by how much a time stamp may be late because it was rounded, here or in an earlier container
    origin_sec: float  # the beginning of the timeline on the file's own clock
    container_end_sec: float  # when the file, sound included, ends by the container's word; 0 when it says nothing
    # whether the packets carry presentation times; where they do not (AVI with reordered frames), the times here are
    # those of decoding, and the first frame shown begins the timeline
    has_times: bool
    # frames at the beginning that carry no time: all of a bare stream, and in Matroska those before zero, which its
    # reader hides. They are counted, `frame_sec` apart.
    counted_frames: int
    frame_sec: float  # how long each of the counted frames lasts; 0 where there are none
    mirrored: bool  # whether the picture is to be mirrored, and perhaps turned, by its display matrix
    pixel_aspect: float  # width of a pixel over its height, before any turn
    doubt: str  # why the packets do not say for certain which decoded frame is which; empty when they do

    def num_steps(self, fps: float) -> int:
        """Number of steps of 1 / `fps` seconds that cover the video; at least 1."""
        return steps_in(self.end_sec, fps)

    def late_sec(self, fps: float, choice: FrameChoice) -> float:
        """By how much a frame's time may be later than a step that shows it.

        Args:
            choice: ``shown``: by what its stamp may have been rounded; ``nearest``: by half a step, less than that of
                the next step, which is what ffmpeg's filter `fps` does: each frame goes to the step nearest to it.
        """
        # A tie goes to the later step: at half a step exactly, a frame is too late for the earlier one.
        return self.rounding_sec if choice == "shown" else 0.5 / fps - _TIE_SEC

    def frame_indices(self, fps: float, choice: FrameChoice) -> npt.NDArray[np.int64]:
        """Index of the frame at each step: the last one that is not later than i / fps by more than `late_sec`.

        Before the first frame of a video that begins after its sound, the first frame is taken.

        Returns:
            Indices in presentation order, ascending, shape (steps,).
        """
        step_sec = np.arange(self.num_steps(fps)) / fps
        shown = np.searchsorted(self.times_sec, step_sec + self.late_sec(fps, choice), side="right") - 1
        return np.maximum(shown, 0).astype(np.int64)


def steps_in(duration_sec: float, fps: float) -> int:
    """Steps of 1 / `fps` seconds that cover a duration, blind to rounding errors; at least 1.

    >>> steps_in(31.0, 24)
    744
    >>> steps_in(31.001, 24)
    745
    """
    return max(1, math.ceil(duration_sec * fps - 1e-6))


def refuse_endless(duration_sec: float) -> None:
    """Stop at a video that is longer than any recording, before memory is taken for its steps.

    Raises:
        VideoError: it lasts more than `MAX_HOURS`, or is not a number.
    """
    if not duration_sec <= MAX_HOURS * 3600:
        raise VideoError(
            f"it claims to last {duration_sec / 3600:.3g} hours; at most {MAX_HOURS} are read. Its clock is probably "
            "damaged: encode it anew, or cut it"
        )


def read_timeline(path: Path | str, *, timeout_sec: float) -> Timeline:
    """Read the packets of the video stream that players show.

    Raises:
        VideoError: the file cannot be read, has no video stream or no packet, lasts beyond `MAX_HOURS`, or its
            clock is reset half-way.
    """
    described = probe(path, timeout_sec=timeout_sec, select_streams="v", show_entries=_PACKETS)
    streams = described.get("streams", [])
    stream = choose_stream(streams)
    if stream is None:
        raise VideoError("no video stream")
    # Of several, decord would choose for itself, by bit rate.
    moving = len(moving_streams(streams))
    container = described.get("format", {})
    origin_sec = timeline_origin(container, stream)
    return timeline_of_packets(
        [packet for packet in described.get("packets", []) if packet.get("stream_index") == stream["index"]],
        stream=stream,
        origin_sec=origin_sec,
        # Containers that declare a length count it from zero on their own clock.
        container_end_sec=(seconds(container.get("duration")) or 0.0) - max(0.0, origin_sec),
        container=container.get("format_name", ""),
        doubt=f"it has {moving} video streams; number {stream['index']} is taken" if moving > 1 else "",
    )


def timeline_of_packets(
    packets: list[dict[str, Any]],
    *,
    stream: dict[str, Any],
    origin_sec: float,
    container_end_sec: float = 0.0,
    container: str = "",
    doubt: str = "",
) -> Timeline:
    """Timeline of a stream.

    Args:
        packets: as ffprobe lists them, in the order of the file; those that an edit list discards are marked D.
        container_end_sec: when the file ends by the container's word, from the beginning of its timeline.

    Raises:
        VideoError: there is no packet to show, nothing says when, it lasts beyond `MAX_HOURS`, or its clock is reset
            half-way.
    """
    tick_sec = float(Fraction(stream.get("time_base", "1/1000")))
    shown = [packet for packet in packets if "D" not in packet.get("flags", "")]
    if not shown:
        raise VideoError("the video stream has no packets")
    _refuse_reset_clock(shown, tick_sec=tick_sec)
    doubts = [doubt]
    if container in WITHOUT_INDEX:
        doubts.append("its container has no index")
    if len(shown) < len(packets):
        doubts.append("an edit list hides some frames")
    ticks = np.array([packet.get("pts", packet.get("dts", np.nan)) for packet in shown], dtype=np.float64)
    counted, frame_sec = 0, 0.0
    if np.isnan(ticks).all():
        counted, frame_sec = len(shown), shown[0].get("duration", 0) * tick_sec
        if frame_sec <= 0:
            raise VideoError("the packets have neither time stamps nor a rate: nothing says when a frame is shown")
    # A key frame at zero with hidden frames behind it begins a group that was cut open: nobody can decode those.
    elif container.startswith("matroska") and np.isnan(ticks[0]):
        counted, frame_sec = _count_back(ticks, tick_sec=tick_sec)
        doubts.append(f"it begins {counted} frames before zero on its clock")
        origin_sec = min(origin_sec, float(ticks.min()) * tick_sec)
    has_times = not np.isnan(ticks).any() and (counted > 0 or all("pts" in packet for packet in shown))
    if not has_times:
        doubts.append("presentation time stamps are missing")
    mirrored = is_mirrored(stream)
    if mirrored:
        doubts.append("the picture is to be mirrored")
    doubts.append(rotation_doubt(stream))
    for number in np.flatnonzero(np.isnan(ticks)):
        ticks[number] = ticks[number - 1] + shown[number - 1].get("duration", 0) if number else 0.0
    order = np.argsort(ticks, kind="stable")
    times = ticks[order] * tick_sec - origin_sec
    gaps = np.diff(times)
    if len(gaps) and gaps.min() <= 0:
        doubts.append("two frames have the same time stamp")
    last_duration = shown[int(order[-1])].get("duration", 0) * tick_sec
    if last_duration <= 0:
        last_duration = float(np.median(gaps)) if len(gaps) else tick_sec
    rounding = _rounding_sec(times, tick_sec=tick_sec)
    if origin_sec and abs(times[0]) < tick_sec:
        rounding *= 2  # the origin is a rounded stamp itself, perhaps the other way
    end = float(times[-1]) + last_duration
    refuse_endless(end)
    return Timeline(
        stream_index=int(stream["index"]),
        times_sec=times,
        end_sec=end,
        last_duration_sec=last_duration,
        rounding_sec=rounding + 1e-6,
        origin_sec=origin_sec,
        container_end_sec=container_end_sec,
        has_times=has_times,
        counted_frames=counted,
        frame_sec=frame_sec,
        mirrored=mirrored,
        pixel_aspect=pixel_aspect(stream),
        doubt="; ".join(filter(None, doubts)),
    )


def _count_back(ticks: npt.NDArray[np.float64], *, tick_sec: float) -> tuple[int, float]:
    """Give packets of Matroska without a stamp, which lie before zero, times that lead up to the first stamp: their
    number, and the seconds between them, the mean of as many gaps behind that stamp.
    """
    hidden = np.isnan(ticks)
    count, known = int(hidden.sum()), np.sort(ticks[~hidden])
    behind = min(count, len(known) - 1)
    gap = (known[behind] - known[0]) / behind if behind else 0.0
    ticks[hidden] = known[0] - gap * np.arange(count, 0, -1)
    return count, float(gap) * tick_sec


def _refuse_reset_clock(packets: list[dict[str, Any]], *, tick_sec: float) -> None:
    times = np.array([packet["dts"] for packet in packets if "dts" in packet], dtype=np.float64) * tick_sec
    if len(times) == 0:
        return
    latest = np.maximum.accumulate(times)
    (resets,) = np.nonzero(latest - times > _MAX_BACKWARDS_SEC)
    if len(resets):
        at, before = times[resets[0]], latest[resets[0]]
        raise VideoError(
            f"its clock is reset: after {before:.2f} s comes {at:.2f} s, as where parts were joined byte by byte, so "
            "that nothing says when a frame is shown. Give it one clock: `ffmpeg -i OLD -c copy NEW.mp4` does for .ts "
            "and .mpg; of other kinds join the parts anew by ffmpeg's concat demuxer"
        )


def _rounding_sec(times: npt.NDArray[np.float64], *, tick_sec: float) -> float:
    """By how much the container's ticks, or earlier milliseconds that all stamps still lie on, may have moved one."""
    units = (times - times[0]) / _ROUNDED_TO_SEC
    whole = bool((np.abs(units - np.round(units)) * _ROUNDED_TO_SEC <= min(tick_sec, _ROUNDED_TO_SEC / 2)).all())
    return (_ROUNDED_TO_SEC if whole else min(tick_sec, _ROUNDED_TO_SEC)) / 2


def stream_end(stream: dict[str, Any], *, origin_sec: float) -> float | None:
    """When a stream ends by its own declaration, in seconds from the beginning of the timeline; None when silent.

    MP4 declares a length from the stream's first time stamp on, Matroska (in a tag) a time stamp.
    """
    length = seconds(stream.get("duration"))
    if length is not None and length > 0:
        return (seconds(stream.get("start_time")) or 0.0) + length - origin_sec
    end = seconds(tag_of(stream, "DURATION"))
    return end - origin_sec if end is not None and end > 0 else None
