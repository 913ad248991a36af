"""RGB arrays of a video at a fixed rate and size, straight from the file.

The frames, the choice among them and the child process are those of the frame store (`vmr.video.reader`); what is
left out is the encoder. With this the frame store is compared, and decoding measured.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from vmr.errors import VideoError
from vmr.video.processes import Helpers, Pipeline
from vmr.video.reader import Picture, decord_plan, stretched_size
from vmr.video.ring import FrameRing
from vmr.video.timeline import read_timeline

_SLOWEST_READER = 100  # times the time limit of decoding that a reader may take


def rgb_frames(
    helpers: Helpers, picture: Picture, *, fps: float, short_side: int, timeout_sec: float, threads: int = 1
) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode a video with decord into arrays, in bounded memory.

    Frames are handed over at their own size in shared memory and resized here, a few at once, beside the decoder:
    resizing inside decord takes more than twice as long.

    Args:
        helpers: the processes that probe and decode.
        picture: the file and its probed facts.
        fps: frames a second; frame i is the last one at or before i / fps after the beginning of the timeline.
        short_side: of the frames, in pixels.
        timeout_sec: seconds that may be spent in waiting for the decoder.
        threads: of the decoder.

    Yields:
        RGB frames, (n, H, W, 3) uint8.

    Raises:
        VideoError: decord cannot be trusted with this file, or fails; perhaps only at the end.
    """
    timeline = read_timeline(helpers.prober, picture.path, timeout_sec=timeout_sec)
    if timeline.doubt:
        raise VideoError(f"{picture.path}: decord may choose wrong frames: {timeline.doubt}")
    size = stretched_size(picture, timeline, short_side=short_side)
    plan, (width, height) = decord_plan(
        picture, timeline, fps=fps, size=size, timeout_sec=_SLOWEST_READER * timeout_sec, threads=threads
    )
    count = memoryview(bytearray(1))
    with FrameRing(width=width, height=height) as ring, Pipeline(timeout_sec=timeout_sec) as pipeline:
        pipeline.add_decord(helpers.decord, plan, ring=ring)
        while pipeline.readinto(count):
            frames = _resized(ring.take(count[0]), size)
            ring.release()
            yield frames
        pipeline.finish()


def _resized(frames: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    width, height = size
    if frames.shape[1:3] == (height, width):
        return frames.copy()
    channels_last = torch.from_numpy(frames).permute(0, 3, 1, 2)
    resized = F.interpolate(channels_last, size=(height, width), mode="bilinear", antialias=True)
    array: npt.NDArray[np.uint8] = resized.permute(0, 2, 3, 1).numpy()
    return array
