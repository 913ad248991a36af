"""Clips whose frames carry their own number, as a bar code of eight blocks, so that no text has to be read."""

import functools
import json
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from vmr.names import FrameChoice
from vmr.video.probe import probe_video
from vmr.video.processes import DecordServer
from vmr.video.reader import DecodedVideo, Picture, decode_video
from vmr.video.stream import decoded_frames

WIDTH, HEIGHT, BITS = 128, 64, 8
STEPS = 24  # a second


def bar_code(number: int) -> np.ndarray:
    """Frame (64, 128, 3): eight blocks in the upper half, the lowest bit on the left; the lower half is dark."""
    frame = np.full((HEIGHT, WIDTH, 3), 16, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            frame[: HEIGHT // 2, bit * 16 : (bit + 1) * 16] = 235
    return frame


def numbers_of(frames: np.ndarray) -> list[int]:
    """Numbers that the bar codes in frames (n, 64, 128, 3) say."""
    bright = frames.astype(np.float32).mean(axis=3)[:, 8:24].mean(axis=1)
    blocks = bright.reshape(len(frames), BITS, 16)[:, :, 4:12].mean(axis=2) > 126
    assert frames.astype(np.float32)[:, 40:].mean() < 60, "the dark half is not below: the picture is turned"
    return [int(np.dot(row, 1 << np.arange(BITS))) for row in blocks]


def ffmpeg(*arguments: object, data: bytes | None = None) -> bytes:
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def render(path: Path, *options: object, fps: str = "24", frames: int | None = None) -> Path:
    """Two seconds of numbered frames at a constant rate, encoded with the given options of ffmpeg."""
    path.write_bytes(_rendered(path.suffix, tuple(map(str, options)), fps, frames))
    return path


@functools.cache
def _rendered(suffix: str, options: tuple[str, ...], fps: str, frames: int | None) -> bytes:
    numerator, _, denominator = fps.partition("/")
    count = frames or round(2 * int(numerator) / int(denominator or 1))
    raw = b"".join(bar_code(number).tobytes() for number in range(count))
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-framerate", fps, "-i", "-"]
    with tempfile.TemporaryDirectory() as folder:  # many formats are completed at their beginning
        path = Path(folder, f"clip{suffix}")
        ffmpeg(*source, "-pix_fmt", "yuv420p", "-threads", "1", *options, path, data=raw)
        return path.read_bytes()


def decode(
    decord: DecordServer, path: Path, *, short_side: int = HEIGHT, choice: FrameChoice = "shown"
) -> tuple[DecodedVideo, np.ndarray]:
    """Result of decoding and the frames kept, (n, H, W, 3)."""
    row = probe_video(path, timeout_sec=20)
    assert row["status"] == "ok", row["reason"]
    picture = Picture(path, row["width"], row["height"], row["rotation"], row["duration_sec"])
    target = path.with_suffix(".kept")
    decoded = decode_video(
        decord, picture, target=target, fps=STEPS, frame_choice=choice, short_side=short_side, timeout_sec=20
    )
    stream = target.read_bytes()
    chunks = decoded_frames(lambda a, b: stream[a:b], size=len(stream), width=decoded.width, height=decoded.height)
    frames = np.concatenate(list(chunks))
    assert len(frames) == decoded.num_frames
    return decoded, frames


def shown(times: list[Fraction], numbers: range | list[int], steps: int) -> list[int]:
    """Slow reference: what a player shows at each step, given the exact time of each frame."""
    order = sorted(zip(times, numbers, strict=True))
    chosen = []
    for step in range(steps):
        due = [number for time, number in order if time <= Fraction(step, STEPS)]
        chosen.append(due[-1] if due else order[0][1])
    return chosen


def presented(path: Path, *, fps: int) -> list[Fraction]:
    """Times at which ffprobe's own decoder presents the frames, from the first one: for clips that were cut.

    The clip has the rate `fps`; times are put on its grid, since containers and ffprobe round them.
    """
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "json"]
    listed = json.loads(subprocess.run([*command, path], stdout=subprocess.PIPE, check=True).stdout)
    times = [Fraction(frame["pts_time"]) for frame in listed["frames"]]
    return [Fraction(round((time - times[0]) * fps), fps) for time in times]


def packets(path: Path) -> list[tuple[int, int]]:
    """Position and size in bytes of each packet of a file's video, in the order of the file."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pos,size", "-of", "json"]
    listed = json.loads(subprocess.run([*command, path], stdout=subprocess.PIPE, check=True).stdout)
    return [(int(packet["pos"]), int(packet["size"])) for packet in listed["packets"]]


def patch_box(path: Path, box: bytes, offset: int, value: int) -> Path:
    """Overwrite 32 bits of an MP4's only box of a kind, `offset` bytes behind its name."""
    content = bytearray(path.read_bytes())
    assert content.count(box) == 1
    begin = content.index(box) + len(box) + offset
    content[begin : begin + 4] = value.to_bytes(4, "big")
    path.write_bytes(content)
    return path


def endless(path: Path) -> Path:
    """Make an MP4 at a constant rate one whose frames last 34 years each: a tick a second, 0x3fffffff ticks a frame."""
    for box, offset, value in ((b"mdhd", 12, 1), (b"mdhd", 16, 0x7FFFFFFF), (b"stts", 12, 0x3FFFFFFF)):
        patch_box(path, box, offset, value)
    return patch_box(path, b"elst", 8, 0x7FFFFFFF) if b"elst" in path.read_bytes() else path
