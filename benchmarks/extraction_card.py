r"""Clips a second of the extraction stage on a card, from the frame store to the feature file.

    python benchmarks/extraction_card.py --frames work/demo/frames/shard_0.h5 --manifest work/demo/frames/shard_0.csv \
        --weights data/assets/i3d_kinetics400_rgb.safetensors

The videos of the frame store are read again and again under other names, until the shard is long enough. Baseline: I3D
in fp32, one 64-frame window at a time, resized on the processor, its frames in memory already. A clip is a window of 64
frames; ours shares the early layers of overlapping ones, so that "of the peak" counts what lone windows would take.
"""

import argparse
import datetime
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from extraction import Waits
from i3d_speed import GFLOP_PER_WINDOW, STRIDE, WINDOW, matmul_gflops, plain_window, processor_name, with_plain_pools

from vmr.config.feature_sections import ExtractorSettings
from vmr.features.extract import extract_shard
from vmr.features.extractors import build_extractor
from vmr.features.i3d import InceptionI3d
from vmr.features.store import FeatureStore
from vmr.features.weights import load_into
from vmr.machine.devices import choose_device
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions
from vmr.video.frames import FrameStore

_ALONE = (None, "windows", "continuous")


def copies_of(frames: Path, manifest: Path, folder: Path, *, copies: int) -> tuple[Path, Path]:
    """A frame store and its manifest with every decoded video so many times."""
    rows = pd.read_csv(manifest)
    rows = rows[rows["status"] == "ok"]
    tables = []
    with h5py.File(frames, "r") as source, h5py.File(folder / "f.h5", "w") as target:
        target.attrs.update(source.attrs)
        del target.attrs["contents_sha256"]
        videos = target.create_group("videos")
        for number in range(copies):
            tables.append(rows.assign(video_id=[f"{name}-{number}" for name in rows["video_id"]]))
            for name in rows["video_id"]:
                source.copy(source["videos"][name], videos, name=f"{name}-{number}")
    pd.concat(tables).to_csv(folder / "f.csv", index=False)
    return folder / "f.h5", folder / "f.csv"


def baseline(frames: Path, weights: Path, device: str, *, windows: int) -> float:
    """Clips a second of the common way."""
    model = InceptionI3d().eval()
    load_into(model, weights)
    with_plain_pools(model).to(device)
    with FrameStore(frames) as store:
        first = store.video_ids[0]
        held = np.concatenate(list(store.read(first, start=0, stop=min(256, store.info(first).num_frames))))
    plain_window(model, held, 0)
    begin = time.perf_counter()
    for number in range(windows):
        plain_window(model, held, STRIDE * number % max(len(held) - WINDOW, 1))
    return windows / (time.perf_counter() - begin)


def network_alone(weights: Path, device: str, mode: str | None) -> float:
    """Clips a second with the frames on the card already: of whole videos, or of lone windows (mode None)."""
    settings = ExtractorSettings(weights=str(weights), window=WINDOW, stride=STRIDE, mode=mode or "windows")
    network = build_extractor("i3d", settings, device=choose_device(device))
    frames = np.random.default_rng(0).integers(0, 256, (1024, 256, 340, 3), dtype=np.uint8)
    plan = network.plan(len(frames))
    pieces = [torch.from_numpy(piece).to(device) for piece in network.pieces([frames], plan)]
    windows = torch.randint(0, 256, (network.batch_size, 3, WINDOW, 224, 224), dtype=torch.uint8, device=device)

    def compute() -> int:
        if mode is None:
            return len(network.run(windows).cpu())
        encoder = network.encoder(plan)
        parts = [encoder.push(piece, last=number == len(pieces) - 1) for number, piece in enumerate(pieces)]
        return len(torch.cat(parts).cpu())

    compute()
    rates = []
    for _ in range(5):
        begin = time.perf_counter()
        clips = compute()
        rates.append(clips / (time.perf_counter() - begin))
    return statistics.median(rates)


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--windows", type=int, default=40, help="of the baseline")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "extraction_card.json")
    options = parser.parse_args()
    heard = Waits()
    logger = logging.getLogger("vmr.features.extract")
    logger.setLevel(logging.INFO)
    logger.addHandler(heard)
    on_card = options.device != "cpu"
    peak = matmul_gflops(options.device, torch.bfloat16)
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames, manifest = copies_of(options.frames, options.manifest, folder, copies=options.copies)
        common = baseline(frames, options.weights, options.device, windows=options.windows)
        for mode in ("windows", "continuous"):
            rates, waits = [], []
            if on_card:
                torch.cuda.reset_peak_memory_stats()
            for turn in range(options.rounds + 1):  # the first does not count
                run = folder / f"{mode}{turn}"
                run.mkdir()
                extract_shard(
                    frames=frames, manifest=manifest, output=run / "x.h5", statuses=run / "x.csv", extractor="i3d",
                    settings=ExtractorSettings(
                        weights=str(options.weights), window=WINDOW, stride=STRIDE, mode=mode, device=options.device,
                        max_failed_share=0.0,
                    ),
                    code_digest="benchmark",
                )  # fmt: skip
                with FeatureStore(run / "x.h5") as store:
                    clips = sum(store.steps(video_id) for video_id in store.video_ids)
                if turn:
                    rates.append(clips / heard.seconds[-1])
                    waits.append(heard.percent[-1])
            figures[mode] = {
                "clips": clips,
                "clips_per_sec": statistics.median(rates),
                "clips_per_sec_best": max(rates),
                "times_the_baseline": statistics.median(rates) / common,
                "share_of_matmul_peak_as_lone_windows": statistics.median(rates) * GFLOP_PER_WINDOW / peak,
                "percent_that_the_network_waited": statistics.median(waits),
                "peak_memory_of_card_mb": torch.cuda.max_memory_reserved() / 2**20 if on_card else 0.0,
            }
    alone = {mode or "lone_windows": network_alone(options.weights, options.device, mode) for mode in _ALONE}
    result = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {
            "processor": processor_name(), "cores": os.cpu_count(), "load_at_end": os.getloadavg()[0],
            "device": torch.cuda.get_device_name() if on_card else "cpu",
        },
        "versions": library_versions(["torch", "numpy", "decord", "h5py"]),
        "matmul_gflops_bfloat16": peak,
        "gflop_per_window": GFLOP_PER_WINDOW,
        "baseline_clips_per_sec": common,
        "stage": figures,
        "network_alone_clips_per_sec": alone,
        "network_alone_share_of_matmul_peak": alone["lone_windows"] * GFLOP_PER_WINDOW / peak,
    }  # fmt: skip
    write_json(options.output, result)
    print(f"baseline    {common:8.1f} clips/s")
    for mode, found in figures.items():
        print(
            f"{mode:11s} {found['clips_per_sec']:8.1f} clips/s, {found['times_the_baseline']:.1f} of the baseline; "
            f"the network waited {found['percent_that_the_network_waited']:.1f} % of it"
        )
    print(f"network alone: {', '.join(f'{mode} {rate:.0f}' for mode, rate in alone.items())} clips/s")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
