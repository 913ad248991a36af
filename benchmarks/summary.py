"""One table of what `make bench` measured: of each stage the common way, ours, and what the machine allows.

    python benchmarks/summary.py [--results benchmarks/results]

It reads the JSON files that the other benchmarks wrote. A ratio is ours to the common way, by speed.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tabulate import tabulate
from throughput import STORE

HEADER = ("stage", "common way", "ours", "ratio", "limit", "of the limit", "more")
Row = tuple[str, ...]
WAYS = {
    "lone_window_bfloat16": "a window by itself",
    "windows_bfloat16": "windows that overlap",
    "continuous_bfloat16": "continuous",
}


def window_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Seconds of a step of a video, and how faithful it is; the limit is multiplying matrices without a pause."""
    faithful = result["cosine_to_plain_float32_windows"] | {
        "continuous_bfloat16": result["cosine_of_continuous_to_exact_windows"]["continuous_bfloat16"]
    }
    seconds = {way: figures["wall_median"] for way, figures in result["seconds_per_step"].items()}
    for way, name in WAYS.items():
        share = result["share_of_matmul_peak"].get(way)
        yield (
            f"I3D, {name}", f"{seconds['baseline']:.2f} s a step", f"{seconds[way]:.3f} s",
            f"{seconds['baseline'] / seconds[way]:.1f}", f"{share * seconds[way]:.3f} s" if share else "",
            f"{share:.2f}" if share else "", f"cosine {faithful[way]['mean']:.4f}" if way in faithful else "",
        )  # fmt: skip


def shard_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Seconds of a step, from mp4 files to the feature file of their shard."""
    seconds = {way: found["median"] / result["steps"][way] for way, found in result["seconds"].items()}
    for way, waited in result["percent_of_extraction_that_the_network_waited"].items():
        yield (
            f"mp4 files to features, {way}", f"{seconds['common']:.2f} s a step", f"{seconds[way]:.3f} s",
            f"{seconds['common'] / seconds[way]:.1f}", "", f"{1 - max(waited) / 100:.2f}",
            f"{result['videos']} videos; the network waited {max(waited):.1f} %",
        )  # fmt: skip


def decoding_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Frames a second from an mp4 into the frame store, beside ffmpeg with the same encoder."""
    for case, found in result["into_the_frame_store"].items():
        yield (
            f"decoding, {case}", f"{found['ffmpeg_frames_per_sec']} frames/s", f"{found['stage_frames_per_sec']}",
            f"{found['speed_relative_to_ffmpeg']:.2f}", "", "", "ffmpeg: the same rate, size and encoder",
        )  # fmt: skip


def store_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Speed, size and fidelity of the frame store."""
    for video, found in result["videos"].items():
        row = next(row for row in found["rows"] if row["candidate"] == STORE)
        more = f"{row['times_raw_video']:.2f} times the raw video, {row['psnr_db']:.1f} dB"
        yield f"reading frames, {video}", "", f"{row['read_frames_per_sec']} frames/s", "", "", "", more


def merging_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Reading features for training, their checksums compared."""
    for shards, found in result["shards"].items():
        yield f"reading a video of {shards} shards", "", f"{found['read_and_check_ms_a_video']:.2f} ms", *[""] * 4


def training_rows(result: dict[str, Any]) -> Iterator[Row]:
    """An epoch of CI-MHA at full width and Charades' scale, and queries answered."""
    seconds, memory = result["seconds_an_epoch"], result["peak_memory_mb"]
    yield (
        "training, an epoch", f"{seconds['straightforward']:.0f} s", f"{seconds['ours']:.0f} s",
        f"{result['times_as_fast']:.1f}", "", "", f"{memory['ours'] / 1024:.1f} GB instead of "
        f"{memory['straightforward'] / 1024:.1f}",
    )  # fmt: skip
    for dtype in ("float32", "bfloat16"):
        yield f"answering, {dtype}", "", f"{result['inference'][f'queries_a_second_{dtype}']:.0f} queries/s", *[""] * 4


def memory_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Peaks of the stages for short and long videos, and for many in one process."""
    for name, case in result["cases"].items():
        material = f"{case['videos']} videos" if name == "many" else f"{case['seconds_of_video']:.0f} s of video"
        for stage, found in case.items():
            if isinstance(found, dict):
                peak, limit = found["peak_mb"] / 1024, result["limit_gb"]
                more = f"growth {100 * found['growth']:.1f} %" if "growth" in found else ""
                yield (
                    f"memory, {material}, {stage}", "", f"{peak:.2f} GB", "", f"{limit:.0f} GB",
                    f"{peak / limit:.2f}", more,
                )  # fmt: skip


def planning_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Snakemake's plans."""
    for case in result["cases"]:
        for what, found in case.items():
            if isinstance(found, dict):
                name = f"plan, {case['videos']} videos, {what.replace('_', ' ')}"
                yield (
                    name, "", f"{found['seconds']:.1f} s", "", f"{result['limit_sec']:.0f} s",
                    f"{found['seconds'] / result['limit_sec']:.2f}", f"{found['jobs']} jobs",
                )  # fmt: skip


def serve_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Visitors of the page, all asking at once."""
    for what in ("answers_only", "beside_new_videos"):
        found, clients = result[what], result["clients"]
        more = f"99 of 100 within {found['latency_sec']['p99']:.1f} s"
        yield (
            f"page, {clients} visitors, {what.replace('_', ' ')}", "", f"{found['answers_a_second']:.0f} answers/s",
            "", "", "", more,
        )  # fmt: skip


PARTS = {
    "i3d_speed": window_rows,
    "extraction": shard_rows,
    "decoding": decoding_rows,
    "frame_store": store_rows,
    "merging": merging_rows,
    "training_epoch": training_rows,
    "memory": memory_rows,
    "planning": planning_rows,
    "serve_load": serve_rows,
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
    return "\n".join([tabulate(rows, HEADER, tablefmt="simple", disable_numparse=True), "", *notes])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    print(summary(parser.parse_args().results))


if __name__ == "__main__":
    main()
