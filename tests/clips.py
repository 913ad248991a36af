"""Clips whose frames carry their own number, as a bar code of eight blocks, so that no text has to be read."""

import subprocess
from pathlib import Path

import numpy as np

WIDTH, HEIGHT, BITS = 128, 64, 8


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
    numerator, _, denominator = fps.partition("/")
    count = frames or round(2 * int(numerator) / int(denominator or 1))
    raw = b"".join(bar_code(number).tobytes() for number in range(count))
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-framerate", fps, "-i", "-"]
    encode = ["-pix_fmt", "yuv420p", "-threads", "1", *options, path]
    ffmpeg(*source, *encode, data=raw)
    return path
