"""The compact stream that keeps a video's frames: H.264, one closed group of pictures every two seconds.

Chosen by measurement (benchmarks/frame_store.py, docs/decisions.md). Colours go through BT.601 in both directions,
named explicitly, so that what is read back does not depend on what the source video declared.
"""

import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ffmpeg  # nobody maintains ffmpeg-python any more: no other module imports it
import numpy as np
import numpy.typing as npt

from vmr.errors import ShardError
from vmr.video.pipes import enlarge_pipe

GOP_FRAMES = 48
# Bilinear (averaging when it shrinks), since decord's own resizing is exactly that: all ways give the same picture.
RESIZING = "bilinear"
SCALING = f"{RESIZING}+accurate_rnd+full_chroma_int"
# An access unit delimiter before every frame makes frames countable without decoding them. A coarser search for motion
# and plain codes save a third of encoding and a quarter of reading, for a seventh more bytes.
ENCODER: dict[str, Any] = {
    "vcodec": "libx264",
    "preset": "veryfast",
    "crf": 12,
    "pix_fmt": "yuv420p",
    "g": GOP_FRAMES,
    "keyint_min": GOP_FRAMES,
    "sc_threshold": 0,
    "x264-params": "aud=1:subme=1:cabac=0",
}
_UNIT = re.compile(rb"\x00\x00\x00\x01([\x09\x67])")  # the beginning of a delimiter or of a parameter set
_DELIMITER, _UNIT_BYTES = b"\x09", 5
_FEED_BYTES = 1 << 20


def input_node(source: str, **options: Any) -> Any:
    """Node of ffmpeg-python for an input, with ffmpeg's options for it."""
    return ffmpeg.input(source, **options)


def command_line(output: Any, level: str) -> list[str]:
    """Command that runs ffmpeg-python's graph up to `output`, and says what is of that level."""
    flags = ["-nostats", "-hide_banner", "-v", level]
    command: list[str] = ffmpeg.compile(output.global_args(*flags))
    return command if "pipe:0" in command else [*command, "-nostdin"]


def encoded_output(frames: Any, *, width: int, height: int) -> Any:
    """Node of ffmpeg-python that resizes RGB frames and encodes them into the compact stream, on standard output.

    Args:
        width: of the kept frames, even.
    """
    kept = frames.filter("scale", width, height, out_color_matrix="bt601", out_range="tv", flags=SCALING)
    options = {**ENCODER, "format": "h264", "fps_mode": "passthrough", "threads": 1, "map_metadata": -1}
    return kept.output("pipe:1", **options)


def check_encoder() -> None:
    """Stop when this ffmpeg is too old or has no H.264 encoder, before every video fails for that reason.

    Raises:
        ShardError: it does not encode a test picture.
    """
    picture = ffmpeg.input("color=size=64x64:rate=25:duration=0.04", format="lavfi")
    output = encoded_output(picture, width=64, height=64)
    trial = subprocess.run(command_line(output, "error"), capture_output=True, check=False)
    if trial.returncode:
        said = trial.stderr.decode(errors="replace").strip()[:300]
        raise ShardError(
            f"ffmpeg {ffmpeg_version()} cannot encode kept frames ({said}). "
            "Install 5.1 or newer, with libx264 (`apt-get install ffmpeg`)."
        )


def ffmpeg_version() -> str:
    """Version of the ffmpeg on the PATH."""
    printed = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False).stdout.split()
    return printed[2] if len(printed) > 2 else "unknown"


class StreamScan:
    """Counts the frames of an encoded stream and finds its groups of pictures while the bytes pass by.

    Attributes:
        num_frames: frames so far.
        size: bytes so far.
    """

    def __init__(self) -> None:
        self.num_frames = self.size = 0
        self._groups: list[tuple[int, int]] = []  # offset in bytes, first frame
        self._frame_offset = 0
        self._tail = b""

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes, however they are cut."""
        joined = self._tail + data
        begin = self.size - len(self._tail)
        for found in _UNIT.finditer(joined):
            if found.group(1) == _DELIMITER:
                self.num_frames += 1
                self._frame_offset = begin + found.start()
            else:
                # Parameter sets come right after the delimiter of a key frame.
                self._groups.append((self._frame_offset, self.num_frames - 1))
        self.size += len(data)
        # A mark may continue in the next bytes; one that is complete is too long to fit in here.
        self._tail = joined[-_UNIT_BYTES + 1 :]

    def group_offsets(self) -> npt.NDArray[np.int64]:
        """Offsets in bytes of the groups: group k begins at frame k * `GOP_FRAMES`.

        Only the first one, 0, when the groups are not regular (reading then starts at the beginning).
        """
        regular = all(frame == number * GOP_FRAMES for number, (_, frame) in enumerate(self._groups))
        offsets = [offset for offset, _ in self._groups]
        return np.array(offsets if regular and offsets[:1] == [0] else [0], dtype=np.int64)


def decoded_frames(
    read_bytes: Callable[[int, int], bytes],
    *,
    size: int,
    width: int,
    height: int,
    skip: int = 0,
    count: int | None = None,
    chunk: int = 64,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode an encoded stream in bounded memory.

    Args:
        read_bytes: gives the bytes from one offset to another; called from another thread, one call at a time.
        size: length of the stream in bytes.
        skip: frames at the beginning that are not wanted.
        count: frames that are wanted after these; None: all.
        chunk: frames that are handed on at once.

    Yields:
        RGB frames, (n, H, W, 3) uint8, n = `chunk` except at the end; fewer than wanted when the stream is shorter.

    Raises:
        ShardError: ffmpeg is not installed or the stream is damaged.
    """
    source = ffmpeg.input("pipe:0", format="h264", threads=2)
    # Times by count: a bare stream has none, and ffmpeg's guesses could make it drop or repeat a frame.
    frames = source.video.filter("trim", start_frame=skip) if skip else source.video
    frames = frames.filter("setpts", "N/25/TB")
    frames = frames.filter("scale", in_color_matrix="bt601", in_range="tv", flags=SCALING)
    limit = {} if count is None else {"frames:v": count}
    output = frames.output("pipe:1", format="rawvideo", pix_fmt="rgb24", r=25, **limit)
    command = command_line(output, "error")
    with tempfile.TemporaryFile() as messages:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages, bufsize=0
            )
        except FileNotFoundError as error:
            raise ShardError("ffmpeg was not found on the PATH. Install it (`apt-get install ffmpeg`).") from error
        assert process.stdin is not None and process.stdout is not None
        failures: list[Exception] = []
        enlarge_pipe(process.stdout.fileno())
        feeder = threading.Thread(target=_feed, args=(process.stdin, read_bytes, size, failures), daemon=True)
        feeder.start()
        try:
            frame_bytes = width * height * 3
            while data := _read_fully(process.stdout, frame_bytes * chunk):
                whole = len(data) // frame_bytes
                if whole * frame_bytes != len(data):
                    raise ShardError("a stored stream ends in the middle of a frame; run decode_frames again")
                yield np.frombuffer(data, np.uint8).reshape(whole, height, width, 3)
            code = process.wait()
        finally:
            # Also reached when the reader stops half-way: nothing may be left running.
            process.kill()
            process.wait()
            process.stdout.close()
            # Not for ever: a garbage collection inside h5py may have brought us here, with its lock held.
            feeder.join(timeout=1)
        if failures:
            raise ShardError(f"a stored stream cannot be read: {failures[0]}") from failures[0]
        if code != 0:
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip()[:300]
            raise ShardError(f"a stored stream cannot be decoded ({said}); run decode_frames again")


def _feed(pipe: Any, read_bytes: Callable[[int, int], bytes], size: int, failures: list[Exception]) -> None:
    try:
        for begin in range(0, size, _FEED_BYTES):
            data = memoryview(read_bytes(begin, min(begin + _FEED_BYTES, size)))
            while data:
                data = data[pipe.write(data) :]
    except BrokenPipeError:
        pass  # the reader stopped half-way, or ffmpeg gave up and says why itself
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        failures.append(error)
    finally:
        pipe.close()


def _read_fully(pipe: Any, count: int) -> bytearray:
    data = bytearray(count)
    view, filled = memoryview(data), 0
    while filled < count and (got := pipe.readinto(view[filled:])):
        filled += got
    view.release()
    del data[filled:]
    return data
