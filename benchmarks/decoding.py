"""Decode a video to 24 fps and short side 256 as RGB arrays: our way and others against ffmpeg that keeps nothing.

    python benchmarks/decoding.py ../shared/data/videos/3MSZA.mp4 [--rounds 7]

The mark is `ffmpeg -vf fps=24,scale=-2:256 -f null -`, which neither converts to RGB nor hands anything over. All ways
run in turns with the same number of decoder threads, on all cores and (the hardest case for ways of two processes)
bound to one; medians are reported. Fidelity: PSNR against frames converted with interpolated chroma at their own size
and resized in floating point.
"""

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import decord
import numpy as np
import torch
from i3d_speed import processor_name
from torch.nn import functional as F

from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions
from vmr.video.arrays import rgb_frames
from vmr.video.pipes import enlarge_pipe
from vmr.video.probe import probe_video
from vmr.video.processes import Helpers, Pipeline
from vmr.video.reader import Picture, decode_video, decord_plan, kept_size
from vmr.video.stream import ffmpeg_version
from vmr.video.timeline import read_timeline

FPS, SHORT_SIDE, CHUNK = 24, 256, 16
MARK = "ffmpeg_null"
Frames = Iterator[np.ndarray]


class Ways:
    """Every way to decode the video; each gives its frames in chunks, in order."""

    def __init__(self, path: Path, helpers: Helpers) -> None:
        self.path, self.helpers = path, helpers
        row = probe_video(helpers.prober, path, timeout_sec=60)
        self.picture = Picture(path, row["width"], row["height"], row["rotation"], row["duration_sec"])
        self.size = kept_size(self.picture.width, self.picture.height, short_side=SHORT_SIDE)

    def ffmpeg_null(self, threads: int) -> Frames:
        """The mark; gives no frames."""
        self._ffmpeg(threads, f"fps={FPS},scale=-2:{SHORT_SIDE}", "-f", "null")
        yield from ()

    def ours(self, threads: int) -> Frames:
        """What `vmr` does: timeline, decord in a child, shared memory, resized beside it."""
        return rgb_frames(self.helpers, self.picture, fps=FPS, short_side=SHORT_SIDE, timeout_sec=60, threads=threads)

    def ours_through_a_pipe(self, threads: int) -> Frames:
        """The same without shared memory."""
        timeline = read_timeline(self.helpers.prober, self.path, timeout_sec=60)
        plan, (width, height) = decord_plan(
            self.picture, timeline, fps=FPS, size=self.size, timeout_sec=60, threads=threads
        )
        with Pipeline(timeout_sec=60) as pipeline:
            pipeline.add_decord(self.helpers.decord, plan)
            yield from (self._resized(chunk) for chunk in _chunks(pipeline.readinto, (height, width, 3)))
            pipeline.finish()

    def decord_resizes(self, threads: int) -> Frames:
        """Decord in this process, bringing the frames to their size itself."""
        return self._decord(threads, width=self.size[0], height=self.size[1])

    def decord_then_torch(self, threads: int) -> Frames:
        """Decord in this process, frames at their own size, resized a few at once."""
        return (self._resized(chunk) for chunk in self._decord(threads))

    def ffmpeg_rgb_pipe(self, threads: int) -> Frames:
        """The command line, frames in RGB over a pipe."""
        return self._ffmpeg_pipe(threads, f"{self._fps},scale={self._scale}", "rgb24", (self.size[1], self.size[0], 3))

    def ffmpeg_two_step_pipe(self, threads: int) -> Frames:
        """The same, resized as YUV before the conversion, which has a fast path for equal sizes only."""
        steps = f"{self._fps},scale={self._scale},format=yuv420p,scale=flags=bilinear"
        return self._ffmpeg_pipe(threads, steps, "rgb24", (self.size[1], self.size[0], 3))

    def ffmpeg_yuv_pipe(self, threads: int) -> Frames:
        """No RGB at all: what any conversion here would come on top of."""
        shape = (self.size[1] * 3 // 2, self.size[0])
        return self._ffmpeg_pipe(threads, f"{self._fps},scale={self._scale}", "yuv420p", shape)

    def careful(self) -> np.ndarray:
        """Every 31st frame as it should be: chroma interpolated, then resized in floating point."""
        careful = "scale=flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp"
        shape = (self.picture.height, self.picture.width, 3)
        frames = np.concatenate(list(self._ffmpeg_pipe(1, f"{self._fps},{careful}", "rgb24", shape)))[::31]
        return self._resized(frames.astype(np.float32))

    @property
    def _fps(self) -> str:
        return f"fps={FPS}:round=up:start_time=0"

    @property
    def _scale(self) -> str:
        return f"{self.size[0]}:{self.size[1]}:flags=bilinear"

    def _resized(self, frames: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(frames).permute(0, 3, 1, 2)
        resized = F.interpolate(tensor, size=self.size[::-1], mode="bilinear", antialias=True)
        return resized.permute(0, 2, 3, 1).numpy()

    def _decord(self, threads: int, **size: int) -> Frames:
        timeline = read_timeline(self.helpers.prober, self.path, timeout_sec=60)
        repeats = np.bincount(timeline.frame_indices(FPS), minlength=len(timeline.times_sec))
        reader = decord.VideoReader(str(self.path), num_threads=threads, **size)
        held = []
        for count in repeats:
            frame = reader.next()
            held += [frame.asnumpy()] * count if count else []
            if len(held) >= CHUNK:
                yield np.stack(held)
                held = []
        if held:
            yield np.stack(held)

    def _ffmpeg(self, threads: int, filters: str, *output: str) -> None:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", str(threads), "-i", str(self.path)]
        subprocess.run([*command, "-vf", filters, *output, "-"], check=True)

    def _ffmpeg_pipe(self, threads: int, filters: str, pix_fmt: str, shape: tuple[int, ...]) -> Frames:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", str(threads), "-i", str(self.path)]
        command += ["-vf", filters, "-f", "rawvideo", "-pix_fmt", pix_fmt, "-"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
            enlarge_pipe(process.stdout.fileno())
            yield from _chunks(process.stdout.readinto, shape)


def _chunks(readinto: Callable[[memoryview], int], shape: tuple[int, ...]) -> Frames:
    while True:
        chunk = np.empty((CHUNK, *shape), np.uint8)
        view, filled = memoryview(chunk).cast("B"), 0
        while filled < len(view) and (got := readinto(view[filled:])):
            filled += got
        if filled:
            yield chunk[: filled * CHUNK // len(view)]
        if filled < len(view):
            return


def psnr(frames: np.ndarray, careful: np.ndarray) -> float:
    """PSNR in decibels of bytes against floats."""
    return float(10 * np.log10(255**2 / np.mean((frames.astype(np.float32) - careful) ** 2)))


def measure(ways: dict[str, Callable[[int], Frames]], *, threads: int, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of each way, in turns, and speed relative to the mark."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    frames: dict[str, int] = {}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            frames[name] = sum(len(chunk) for chunk in way(threads))
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - begin)
    expected = frames["ours"]
    assert all(count in (0, expected) for count in frames.values()), frames
    mark = statistics.median(seconds[MARK])
    return {
        name: {
            "seconds_median": round(statistics.median(taken), 4),
            "seconds_best": round(min(taken), 4),
            "frames_per_sec": round(expected / statistics.median(taken)),
            "speed_relative_to_ffmpeg_null": round(mark / statistics.median(taken), 3),
        }
        for name, taken in seconds.items()
    }


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "decoding.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0))
    results = {}
    for bound, threads in ((cores, 1), (cores, 2), (cores[:1], 1)):
        os.sched_setaffinity(0, bound)  # its children inherit it
        with Helpers() as helpers:
            ways = Ways(options.video, helpers)
            names = [name for name in vars(Ways) if not name.startswith("_") and name != "careful"]
            functions = {name: getattr(ways, name) for name in names}
            results[f"{threads} threads on {len(bound)} cores"] = measure(
                functions, threads=threads, rounds=options.rounds
            )
    os.sched_setaffinity(0, cores)
    with Helpers() as helpers:
        ways = Ways(options.video, helpers)
        careful = ways.careful()
        fidelity = {
            name: round(psnr(np.concatenate(list(function(1)))[::31], careful), 2)
            for name, function in ((name, getattr(ways, name)) for name in names)
            if name not in (MARK, "ffmpeg_yuv_pipe")
        }
        target = Path(f"{options.output}.h264")
        begin = time.perf_counter()
        stored = decode_video(helpers, ways.picture, target=target, fps=FPS, short_side=SHORT_SIDE, timeout_sec=60)
        store_sec = time.perf_counter() - begin
        target.unlink()
    write_json(
        options.output,
        {
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "machine": {
                "processor": processor_name(),
                "cores": len(cores),
                "system": platform.platform(),
                "load_at_end": os.getloadavg()[0],
            },
            "versions": {"ffmpeg": ffmpeg_version(), **library_versions(["decord", "torch", "numpy"])},
            "video": options.video.name,
            "settings": {"fps": FPS, "short_side": SHORT_SIDE, "rounds": options.rounds, "size": list(ways.size)},
            "ways": results,
            "psnr_db": fidelity,
            "into_the_frame_store": {"seconds": round(store_sec, 3), "frames": stored.num_frames},
        },
    )
    for case, figures in results.items():
        print(case)
        for name, figure in figures.items():
            quality = f"{fidelity[name]:.1f} dB" if name in fidelity else ""
            print(
                f"  {name:22s} {figure['frames_per_sec']:5d} frames/s, "
                f"{figure['speed_relative_to_ffmpeg_null']:.2f} of ffmpeg to null  {quality}"
            )
    print(f"into the frame store   {stored.num_frames / store_sec:5.0f} frames/s\nwritten to {options.output}")


if __name__ == "__main__":
    main()
