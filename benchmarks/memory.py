"""Peak memory of decoding and extraction: ten seconds against two hours of video, and 500 videos in one process.

    python benchmarks/memory.py [--hours 2 --videos 500] [--cases short minutes many long]

Each stage runs as the workflow runs it, as a command, on videos that ffmpeg renders here. Memory is the proportional
set size of the command and of all that it started, looked at five times a second, so that pages which a decoder
shares with its parent count once. Two hours take about an hour in mode `continuous` on two cores and most of a day in
exact windows at the default stride; the chunks that lie in memory do not depend on how many windows follow, so that
the long video is extracted with a window every fifty seconds in mode `windows`. The many videos last a second each
and go through a network that sees 16 frames, since what could grow is counted in videos.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
from extraction import write_i3d_weights
from i3d_speed import processor_name

from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions

LIMIT_GB = 3.0
SHORT_SEC = 10
# One window in fifty seconds of video.
SPARSE_STRIDE = 1200
SMALL_WINDOW = 16
CASES = ("short", "minutes", "many", "long")
_BETWEEN_LOOKS_SEC = 0.2


def render(path: Path, *, seconds: float) -> Path:
    """A video with sound-free moving test pictures, key frames where x264 puts them."""
    source = f"testsrc2=size=426x240:rate=24:duration={seconds}"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


def tree_bytes(root: psutil.Process) -> int:
    """Memory of a process and its descendants; those that end meanwhile count nothing."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def watch(command: list[str], log: Path) -> dict[str, object]:
    """Run a command to its end; seconds and megabytes of memory, at the peak and over time."""
    begin = time.perf_counter()
    with log.open("w") as output:
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        root, series = psutil.Process(running.pid), []
        while running.poll() is None:
            try:
                series.append(tree_bytes(root) / 2**20)
            except psutil.Error:
                break
            time.sleep(_BETWEEN_LOOKS_SEC)
    if running.wait() != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
    return {"seconds": time.perf_counter() - begin, "peak_mb": max(series), "series_mb": series}


def moments_of(videos: Path, output: Path, *, seconds: float) -> Path:
    """A table of moments with one sentence for each video of a folder."""
    rows = [
        {"query_id": f"{p.stem}-0", "video_id": p.stem, "split": "train", "start_sec": 0.0, "end_sec": 0.5,
         "duration_sec": seconds, "sentence": "a person."}
        for p in sorted(videos.iterdir())
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(output, index=False)
    return output


def decode(videos: Path, folder: Path, *, seconds: float) -> dict[str, object]:
    """Probe and decode a folder of videos into a frame store."""
    vmr = [sys.executable, "-m", "vmr"]
    moments = moments_of(videos, folder / "moments.csv", seconds=seconds)
    probe = ["probe-videos", "--moments", str(moments), "--videos", str(videos), "--shard", "0", "--shards", "1"]
    watch([*vmr, *probe, "--output", str(folder / "probed.csv")], folder / "probe.log")
    options = ["--manifest", str(folder / "probed.csv"), "--output", str(folder / "frames.h5")]
    command = [
        *vmr,
        "decode-frames",
        "--workers",
        str(os.cpu_count()),
        *options,
        "--decoded-manifest",
        str(folder / "decoded.csv"),
    ]
    return watch(command, folder / "decode.log")


def extract(folder: Path, weights: Path, *, mode: str, stride: int, window: int = 64) -> dict[str, object]:
    """Extract I3D features from a frame store."""
    options = ["--frames", str(folder / "frames.h5"), "--manifest", str(folder / "decoded.csv")]
    options += ["--weights", str(weights), "--mode", mode, "--window", str(window), "--stride", str(stride)]
    options += ["--output", str(folder / f"{mode}.h5"), "--statuses", str(folder / f"{mode}.csv")]
    return watch([sys.executable, "-m", "vmr", "extract", *options], folder / f"{mode}.log")


def growth(series: list[float]) -> dict[str, float]:
    """Median memory of the second and of the last fifth of a run: a leak would part them."""
    fifth = len(series) // 5
    early, late = statistics.median(series[fifth : 2 * fifth]), statistics.median(series[-fifth:])
    return {"second_fifth_mb": early, "last_fifth_mb": late, "growth": late / early - 1}


def measure_length(name: str, folder: Path, weights: Path, *, seconds: float) -> dict[str, object]:
    """Peaks for a video of that length, alone in its shard."""
    case = folder / name
    (case / "videos").mkdir(parents=True)
    render(case / "videos" / "video.mp4", seconds=seconds)
    peaks: dict[str, object] = {"seconds_of_video": seconds}
    stages = {"decode": lambda: decode(case / "videos", case, seconds=seconds)}
    if name != "minutes":
        stages["windows"] = lambda: extract(case, weights, mode="windows", stride=SPARSE_STRIDE)
    stages["continuous"] = lambda: extract(case, weights, mode="continuous", stride=8)
    for stage, run in stages.items():
        found = run()
        peaks[stage] = {"seconds": found["seconds"], "peak_mb": found["peak_mb"]}
        if name == "long":
            peaks[stage] |= growth(found["series_mb"])
        print(f"{name:8s} {seconds:7.0f} s of video  {stage:11s} {found['peak_mb']:7.0f} MB", flush=True)
    shutil.rmtree(case)
    return peaks


def measure_many(folder: Path, weights: Path, *, videos: int) -> dict[str, object]:
    """Memory over time while many short videos go through one process."""
    case = folder / "many"
    (case / "videos").mkdir(parents=True)
    first = render(case / "videos" / "video0.mp4", seconds=1)
    for number in range(1, videos):
        os.link(first, case / "videos" / f"video{number}.mp4")
    results: dict[str, object] = {"videos": videos}
    stages = {
        "decode": lambda: decode(case / "videos", case, seconds=1),
        "continuous": lambda: extract(case, weights, mode="continuous", stride=8, window=SMALL_WINDOW),
    }
    for stage, run in stages.items():
        found = run()
        results[stage] = {"seconds": found["seconds"], "peak_mb": found["peak_mb"], **growth(found["series_mb"])}
        change = results[stage]["growth"]
        print(f"{videos} videos, {stage:11s} {found['peak_mb']:7.0f} MB, growth {100 * change:.1f} %", flush=True)
    return results


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--continuous-minutes", type=float, default=5.0)
    parser.add_argument("--videos", type=int, default=500)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, help="others stay as they were measured")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "memory.json")
    options = parser.parse_args()
    lengths = {"short": SHORT_SEC, "minutes": options.continuous_minutes * 60, "long": options.hours * 3600}
    result = json.loads(options.output.read_text()) if options.output.exists() else {}
    cases = result.get("cases", {})
    for name in options.cases:
        with tempfile.TemporaryDirectory() as folder_name:
            folder = Path(folder_name)
            weights = write_i3d_weights(folder)
            if name == "many":
                cases[name] = measure_many(folder, weights, videos=options.videos)
            else:
                cases[name] = measure_length(name, folder, weights, seconds=lengths[name])
        peaks = [stage["peak_mb"] for case in cases.values() for stage in case.values() if isinstance(stage, dict)]
        result = {
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "machine": {"processor": processor_name(), "cores": os.cpu_count(), "load_at_end": os.getloadavg()[0]},
            "versions": library_versions(["torch", "numpy", "decord", "h5py"]),
            "sparse_stride": SPARSE_STRIDE,
            "window_of_many": SMALL_WINDOW,
            "cases": cases,
            "highest_peak_gb": max(peaks) / 1024,
            "limit_gb": LIMIT_GB,
        }
        write_json(options.output, result)
    print(f"highest peak {max(peaks) / 1024:.2f} GB of {LIMIT_GB}; written to {options.output}")


if __name__ == "__main__":
    main()
