"""Which frames a step sees, which seconds it owns, and reading them in bounded memory.

Frames are numbered in the frame store (a constant rate). All windows of a video lie at equal distances in its *padded
sequence*: its frames, the first and last repeated where a window hangs over an edge.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor
from torch.nn import functional as F

from vmr.errors import FeatureError
from vmr.features.pytorchvideo_calls import last_clip_start
from vmr.names import Padding

Frames = UInt8[np.ndarray, "_T _H _W 3"]  # underscores: each use has its own sizes


@dataclass(frozen=True)
class WindowPlan:
    """The windows of one video."""

    steps: int
    window: int
    stride: int  # frames between the beginnings of two windows
    first_frame: int  # frame at which window 0 begins; negative where the first frame is repeated before it
    num_frames: int

    @property
    def length(self) -> int:
        """Frames of the padded sequence, from the beginning of the first window to the end of the last."""
        return (self.steps - 1) * self.stride + self.window


def plan_windows(num_frames: int, *, window: int, stride: int, padding: Padding) -> WindowPlan:
    """Lay windows over a video.

    Args:
        padding: ``"edge"``: N = ceil(frames / stride) windows, each centred on the `stride` frames that its step owns.
            The first and last frame are repeated at the ends. Not in the paper: chosen because no half window is lost.
            ``"valid"``: only windows inside the video, as pytorchvideo cuts them; one where the video is shorter.

    Raises:
        FeatureError: there is no frame.

    >>> plan = plan_windows(20, window=64, stride=8, padding="edge")
    >>> plan.steps, plan.first_frame
    (3, -28)
    """
    if num_frames < 1:
        raise FeatureError(f"a video needs at least one frame for features, found {num_frames}")
    if padding == "edge":
        first = stride // 2 - window // 2
        return WindowPlan(math.ceil(num_frames / stride), window, stride, first, num_frames)
    if num_frames < window:
        steps = 1
    elif stride > window:  # pytorchvideo's sampler has no gaps between clips
        steps = (num_frames - window) // stride + 1
    else:
        steps = last_clip_start(num_frames, window=window, stride=stride) // stride + 1
    return WindowPlan(steps, window, stride, 0, num_frames)


def step_seconds(
    plan: WindowPlan, *, fps: float, duration_sec: float, padding: Padding
) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
    """Start and end in seconds of the interval that each step owns; there are no gaps between them.

    Args:
        duration_sec: length of the stored frames; the last interval ends there.
        padding: with ``"valid"`` a step owns the middle `stride` frames of its window, the first and last also the
            ends.
    """
    offset = 0 if padding == "edge" else (plan.window - plan.stride) // 2
    edges = (np.arange(plan.steps + 1, dtype=np.float64) * plan.stride + offset) / fps
    edges[0] = 0.0
    end = max(duration_sec, (plan.num_frames - 1) / fps)
    edges = np.minimum(edges, end)
    edges[-1] = end
    return edges[:-1], edges[1:]


def padded_sequence(frames: Iterable[Frames], plan: WindowPlan) -> Iterator[Frames]:
    """The padded sequence of a video, `plan.length` frames in all, from chunks of its frames.

    Raises:
        FeatureError: there are fewer frames than the plan expects.
    """
    before, skip = max(-plan.first_frame, 0), max(plan.first_frame, 0)
    left = plan.length
    seen = 0
    last: Frames | None = None
    for chunk in frames:
        if not len(chunk):
            continue
        if seen == 0 and before:
            repeated = np.repeat(chunk[:1], min(before, left), axis=0)
            left -= len(repeated)
            yield repeated
        seen += len(chunk)
        last = chunk[-1:]
        taken = chunk[skip : skip + left]
        skip = max(skip - len(chunk), 0)
        left -= len(taken)
        if len(taken):
            yield taken
        if not left:
            return
    if last is None or seen < plan.num_frames:
        raise FeatureError(f"the frame store gave {seen} frames, its index says {plan.num_frames}: decode it again")
    yield np.repeat(last, left, axis=0)


def without_gaps(sequence: Iterable[Frames], *, window: int, stride: int) -> Iterator[Frames]:
    """The frames of the padded sequence that some window sees, so that windows far apart lie one behind the other."""
    begin = 0
    for chunk in sequence:
        if window < stride:
            seen = (begin + np.arange(len(chunk))) % stride < window
            begin += len(chunk)
            chunk = chunk if seen.all() else chunk[seen]
        if len(chunk):
            yield chunk


def slabs(sequence: Iterable[Frames], *, length: int, advance: int) -> Iterator[Frames]:
    """Cut a stream of frames into overlapping pieces, holding one piece at a time, until one ends with the stream.

    Args:
        advance: frames between the beginnings of two pieces, at most `length`.
    """
    held: list[Frames] = []
    count = 0
    fresh = False
    for chunk in sequence:
        while len(chunk):
            taken = chunk[: length - count]
            chunk = chunk[len(taken) :]
            held.append(taken)
            count += len(taken)
            fresh = True
            if count == length:
                piece = np.concatenate(held)
                yield piece
                kept = piece[advance:]
                held, count, fresh = ([kept.copy()] if len(kept) else []), len(kept), False
    if fresh:
        yield np.concatenate(held)


def resize_and_crop(frames: Frames, *, short_side: int | None, size: tuple[int, int] | None, crop: int) -> Frames:
    """Resize RGB frames (bilinear, antialiased) and cut a square of edge `crop` out of their centre.

    Args:
        short_side: shorter edge after resizing, aspect ratio kept; None when `size` says more.
        size: height and width after resizing, whatever the aspect ratio.
    """
    _, height, width, _ = frames.shape
    if size is None:
        scale = (short_side or min(height, width)) / min(height, width)
        size = (max(round(height * scale), crop), max(round(width * scale), crop))
    if size != (height, width):
        tensor = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
        tensor = F.interpolate(tensor, size=size, mode="bilinear", antialias=True)
        frames = tensor.permute(0, 2, 3, 1).numpy()
    top, left = (size[0] - crop) // 2, (size[1] - crop) // 2
    return np.ascontiguousarray(frames[:, top : top + crop, left : left + crop])


def windows_of(slab: UInt8[Tensor, "T H W 3"], *, window: int, stride: int) -> UInt8[Tensor, "B 3 window H W"]:
    """The windows of a piece of the padded sequence as a view: no frame is copied."""
    return slab.unfold(0, window, stride).permute(0, 3, 4, 1, 2)
