"""Time the stage `decode_frames`, from an MP4 to a finished shard of the frame store, against the ffmpeg command line.

    python benchmarks/decoding.py ../shared/data/videos/3MSZA.mp4 [--rounds 5]

The mark is `ffmpeg -vf fps=24,scale -c:v libx264 -preset veryfast -crf 12` of the same file, with one thread each for
decoder, filters and encoder, as the stage has them. Both take turns, bound to one core and to two; medians are
reported.
"""

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from i3d_speed import processor_name

from vmr.config.sections import VideoSettings
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions
from vmr.video.decode import decode_frames
from vmr.video.frames import FrameStore
from vmr.video.manifest import MANIFEST_COLUMNS, write_manifest
from vmr.video.probe import probe_video
from vmr.video.stream import ffmpeg_version

FPS, SHORT_SIDE = 24, 256


def stage_sec(manifest: Path, folder: Path) -> tuple[float, int]:
    """Seconds of the stage, and the frames that it keeps."""
    begin = time.perf_counter()
    decode_frames(
        manifest=manifest,
        output=folder / "frames.h5",
        decoded_manifest=folder / "frames.csv",
        settings=VideoSettings(fps=FPS, short_side=SHORT_SIDE),
    )
    taken = time.perf_counter() - begin
    with FrameStore(folder / "frames.h5") as store:
        return taken, store.info("video").num_frames


def ffmpeg_sec(video: Path, folder: Path) -> float:
    """Seconds of ffmpeg for the same rate, size and encoder."""
    one = ["-threads", "1"]
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-filter_threads", "1", *one, "-i", str(video), "-an"]
    command += ["-vf", f"fps={FPS},scale=-2:{SHORT_SIDE}", "-c:v", "libx264", "-preset", "veryfast", "-crf", "12"]
    begin = time.perf_counter()
    subprocess.run([*command, *one, str(folder / "frames.mkv")], check=True)
    return time.perf_counter() - begin


def measure(video: Path, *, rounds: int) -> dict[str, float]:
    """Medians of both, in turns, and the stage's speed relative to the mark."""
    taken: dict[str, list[float]] = {"stage": [], "ffmpeg": []}
    with tempfile.TemporaryDirectory() as name:
        manifest = Path(name, "videos.csv")
        row = {"video_id": "video", **probe_video(video, timeout_sec=60)}
        write_manifest([row], manifest, columns=MANIFEST_COLUMNS)
        for turn in range(rounds + 1):
            folder = Path(name, str(turn))
            folder.mkdir()
            stage, frames = stage_sec(manifest, folder)
            ffmpeg = ffmpeg_sec(video, folder)
            if turn:  # the first one warms up
                taken["stage"].append(stage)
                taken["ffmpeg"].append(ffmpeg)
    medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
    # Turn by turn, since a machine that others use as well is not as fast in all of them.
    ratios = [ffmpeg / stage for stage, ffmpeg in zip(taken["stage"], taken["ffmpeg"], strict=True)]
    return {
        "frames": frames,
        **{f"{way}_seconds_median": round(median, 4) for way, median in medians.items()},
        **{f"{way}_seconds_best": round(min(seconds), 4) for way, seconds in taken.items()},
        **{f"{way}_frames_per_sec": round(frames / median) for way, median in medians.items()},
        "speed_relative_to_ffmpeg": round(statistics.median(ratios), 3),
    }


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "decoding.json")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    results = {}
    for count in (1, 2):
        os.sched_setaffinity(0, cores[:count])  # its children inherit it
        results[f"{count} core{'s' * (count > 1)}"] = measure(options.video.absolute(), rounds=options.rounds)
    os.sched_setaffinity(0, cores)
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
            "versions": {"ffmpeg": ffmpeg_version(), **library_versions(["decord", "h5py", "numpy"])},
            "video": options.video.name,
            "settings": {"fps": FPS, "short_side": SHORT_SIDE, "rounds": options.rounds},
            "into_the_frame_store": results,
        },
    )
    for case, figures in results.items():
        print(
            f"{case}: {figures['stage_frames_per_sec']} frames/s, ffmpeg {figures['ffmpeg_frames_per_sec']}: "
            f"{figures['speed_relative_to_ffmpeg']:.2f} of its speed"
        )
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
