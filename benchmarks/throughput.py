"""What an hour of video costs in each stage, and what cores and cards make of a corpus: computed, not measured here.

    python benchmarks/throughput.py [--hours 1000000 --days 30 --card-steps-per-sec 315]

Costs come from the other benchmarks' JSON in `benchmarks/results/`: decoding into the frame store, steps of I3D and
C3D, bytes of both test videos. Steps a second of a card: what `extraction_card.py` gave on an H200 (another
card wants its own). Scaling is linear: shards share nothing but the disk.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
FPS, STRIDE, DIM = 24, 8, 1024
C3D_STRIDE = 16
FRAMES_PER_HOUR = FPS * 3600
STEPS_PER_HOUR = FRAMES_PER_HOUR // STRIDE
STORE = "h264 veryfast crf 12 subme 1 cavlc"  # the frame store's codec
# Frames a second of one core that nothing else used (an Intel Xeon, an AMD EPYC): of the ffmpeg that `decoding.json`
# compares the stage with, and read from the frame store, of the larger of two videos, with the encoder before (the
# present one's are read faster). Later runs shared their machine.
FFMPEG_FRAMES_PER_SEC, READ_FRAMES_PER_SEC = 474, 521


@dataclass(frozen=True)
class Costs:
    """Of one hour of video: seconds of one core in each stage, and gigabytes as (small videos, large videos)."""

    decode: float
    read: float
    i3d_windows: float
    i3d_continuous: float
    c3d: float
    raw_gb: tuple[float, float]
    frames_gb: tuple[float, float]
    features_gb: float


def measured_costs(results: Path = RESULTS) -> Costs:
    """Costs by the JSON files of a folder."""
    decoding, store, i3d, rehearsal = (
        json.loads((results / f"{name}.json").read_text())
        for name in ("decoding", "frame_store", "i3d_speed", "rehearsal")
    )
    into = decoding["into_the_frame_store"]["1 core"]
    steps = i3d["seconds_per_step"]
    raw, frames = [], []
    for video in store["videos"].values():
        per_hour = FRAMES_PER_HOUR / video["frames"] / 1e9
        row = next(row for row in video["rows"] if row["candidate"] == STORE)
        raw.append(video["raw_bytes"] * per_hour)
        frames.append(row["bytes"] * per_hour)
    return Costs(
        decode=FRAMES_PER_HOUR / (FFMPEG_FRAMES_PER_SEC * into["speed_relative_to_ffmpeg"]),
        read=FRAMES_PER_HOUR / READ_FRAMES_PER_SEC,
        i3d_windows=STEPS_PER_HOUR * steps["windows_bfloat16"]["cpu_median"],
        i3d_continuous=STEPS_PER_HOUR * steps["continuous_bfloat16"]["cpu_median"],
        c3d=FRAMES_PER_HOUR / C3D_STRIDE * rehearsal["c3d"]["cpu_seconds_a_step"],
        raw_gb=(min(raw), max(raw)),
        frames_gb=(min(frames), max(frames)),
        features_gb=STEPS_PER_HOUR * DIM * 4 / 1e9,
    )


def pace(costs: Costs, *, cores: int, cards: int, card_steps_per_sec: float) -> tuple[float, str]:
    """Hours of video in an hour, with exact windows, and what holds it back."""
    if not cards:
        return 3600 * cores / (costs.decode + costs.read + costs.i3d_windows), "I3D on the cores"
    by_cores = 3600 * cores / (costs.decode + costs.read)
    by_cards = 3600 * cards * card_steps_per_sec / STEPS_PER_HOUR
    return min((by_cores, "decoding"), (by_cards, "cards"))


def report(costs: Costs, *, hours: float, days: float, card_steps_per_sec: float) -> str:
    """Three tables in Markdown."""
    lines = ["| an hour of video | seconds of one core |", "|---|---:|"]
    lines += [
        f"| {name} | {seconds:,.0f} |"
        for name, seconds in (
            ("decode into the frame store", costs.decode),
            ("read it for the network", costs.read),
            ("I3D, exact windows, without a card", costs.i3d_windows),
            ("I3D, `continuous`, without a card", costs.i3d_continuous),
            ("C3D at stride 16, with reading, without a card", costs.c3d),
        )
    ]
    lines += [
        "",
        f"| cores | cards (of {card_steps_per_sec:g} steps/s) | video-hours an hour | held back by |",
    ]
    lines += ["|---:|---:|---:|---|"]
    for cores, cards in ((2, 0), (16, 0), (64, 0), (4, 1), (16, 1), (16, 4), (64, 4), (256, 32)):
        speed, limit = pace(costs, cores=cores, cards=cards, card_steps_per_sec=card_steps_per_sec)
        lines.append(f"| {cores} | {cards} | {speed:,.1f} | {limit} |")
    seconds = 86400 * days
    moved = [raw + 2 * frames + costs.features_gb for raw, frames in zip(costs.raw_gb, costs.frames_gb, strict=True)]
    needs = (
        ("raw videos", _range(costs.raw_gb, hours / 1e3, "TB")),
        ("frame store", _range(costs.frames_gb, hours / 1e3, "TB")),
        ("I3D features", f"{costs.features_gb * hours / 1e3:,.0f} TB"),
        (f"network in {days:g} days, on average", _range(moved, hours / seconds, "GB/s")),
        (f"cores for decoding in {days:g} days", f"{(costs.decode + costs.read) * hours / seconds:,.0f}"),
        (f"cards in {days:g} days", f"{STEPS_PER_HOUR / card_steps_per_sec * hours / seconds:,.0f}"),
        (f"cores instead of cards in {days:g} days", f"{costs.i3d_windows * hours / seconds:,.0f}"),
    )
    lines += [
        "",
        f"| {hours:,.0f} video-hours need | |",
        "|---|---:|",
        *(f"| {name} | {value} |" for name, value in needs),
    ]
    return "\n".join(lines)


def _range(pair: tuple[float, float] | list[float], factor: float, unit: str) -> str:
    low, high = (f"{value * factor:,.2f}" if value * factor < 10 else f"{value * factor:,.0f}" for value in pair)
    return f"{low} to {high} {unit}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1e6, help="hours of video")
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--card-steps-per-sec", type=float, default=315.0, help="of a card, with exact windows")
    options = parser.parse_args()
    print(report(measured_costs(), **vars(options)))


if __name__ == "__main__":
    main()
