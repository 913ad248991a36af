"""One table of what `make bench-features` measured: baseline against ours, decoding, frame store, memory.

    python benchmarks/summary.py [--results benchmarks/results]

It reads the JSON files that the other benchmarks wrote.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STORE = "h264 veryfast crf 12"  # the frame store's codec
WAYS = {
    "baseline": "common: fp32, a window at a time",
    "lone_window_bfloat16": "ours, a lone window",
    "windows_bfloat16": "ours, `windows`, overlapping",
    "continuous_bfloat16": "ours, `continuous`",
}
Row = tuple[str, str, str, str]


def window_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Seconds of a window or a step of a video, and how faithful it is."""
    faithful = result["cosine_to_plain_float32_windows"] | {
        "continuous_bfloat16": result["cosine_of_continuous_to_exact_windows"]["continuous_bfloat16"]
    }
    for key, name in WAYS.items():
        figures = result["seconds_per_step"][key]
        share = f"{figures['share_of_baseline']:.2f} of the baseline"
        cosine = f"cosine {faithful[key]['mean']:.4f}" if key in faithful else ""
        if key in result.get("share_of_matmul_peak", {}):
            cosine = f"{result['share_of_matmul_peak'][key]:.2f} of the matmul peak"
        yield f"I3D, {name}", f"{figures['wall_median']:.2f} s a step", share, cosine


def shard_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Seconds of a shard, from mp4 files to the feature file."""
    waits = result.get("percent_of_extraction_that_the_network_waited", {})
    for way, seconds in result["seconds"].items():
        share = result["share_of_common"].get(way, 1.0)
        waited = f"network waited {max(waits[way]):.1f} %" if way in waits else ""
        name = f"a shard of {result['seconds_of_video']:.0f} s of video, {way}"
        yield name, f"{seconds['median']:.1f} s", f"{share:.2f} of the baseline", waited


def decoding_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Frames a second from an MP4 into the frame store, beside ffmpeg with the same encoder."""
    for case, figures in result["into_the_frame_store"].items():
        share = f"{figures['speed_relative_to_ffmpeg']:.2f} of ffmpeg"
        yield f"decoding and encoding, {case}", f"{figures['stage_frames_per_sec']} frames/s", share, ""


def store_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Size and fidelity of the frame store."""
    for video, found in result["videos"].items():
        row = next(row for row in found["rows"] if row["candidate"] == STORE)
        size, fidelity = f"{row['times_raw_video']:.2f} times the raw video", f"{row['psnr_db']:.1f} dB"
        if "feature_cosine_min" in row:
            fidelity += f", features' cosine {row['feature_cosine_mean']:.4f}, at least {row['feature_cosine_min']:.4f}"
        yield f"frame store, {video}", f"{row['read_frames_per_sec']} frames/s read", size, fidelity


def memory_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Peaks of the stages for short and long videos, and for many in one process."""
    for case in (case for name, case in result["cases"].items() if name != "many"):
        for stage, figures in case.items():
            if isinstance(figures, dict):
                name = f"memory, {case['seconds_of_video']:.0f} s of video, {stage}"
                yield name, f"{figures['peak_mb'] / 1024:.2f} GB at most", "", ""
    many = result["cases"].get("many", {})
    for stage in sorted(set(many) - {"videos"}, reverse=True):
        peak, growth = f"{many[stage]['peak_mb'] / 1024:.2f} GB at most", f"growth {100 * many[stage]['growth']:.1f} %"
        yield f"memory, {many['videos']} videos in one process, {stage}", peak, growth, ""


PARTS = {
    "i3d_speed": window_rows,
    "extraction": shard_rows,
    "decoding": decoding_rows,
    "frame_store": store_rows,
    "memory": memory_rows,
}


def summary(results: Path) -> str:
    """The table, with the date of each measurement; what was not measured is named."""
    rows: list[Row] = []
    notes = []
    for name, part in PARTS.items():
        file = results / f"{name}.json"
        if not file.exists():
            notes.append(f"{name}: not measured")
            continue
        result = json.loads(file.read_text())
        rows += part(result)
        notes.append(f"{name}: {result['date']}, {result['machine']['processor']}")
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *notes])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    print(summary(parser.parse_args().results))


if __name__ == "__main__":
    main()
