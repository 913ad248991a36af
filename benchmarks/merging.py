"""Merging shards without copying them, reading videos from a thousand shards against one, and what checksums cost.

    python benchmarks/merging.py [--videos 8000]

The same videos lie in one shard, in 100 and in 1,000. Each time `merge_features` unites them as the workflow does, and
a fixed choice of videos is read from the merged file in random order, in turns, so that what else the machine
does meets all alike. The first reading of a video also compares its checksums, later ones do not. Verifying reads
everything, as `vmr verify` does. The files lie in the system's cache; a slow disk adds the same to all. All times are
the processor's, which hardly depend on what else the machine does.
"""

import argparse
import datetime
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from i3d_speed import processor_name

from vmr.annotations.moments import MOMENT_COLUMNS, write_moments
from vmr.config.feature_sections import ReductionSettings
from vmr.features.merge import merge_features
from vmr.features.store import END, FEATURES, START, FeatureStore
from vmr.storage.checksums import seal_file
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions
from vmr.storage.verify import verify_files
from vmr.video_ids import shard_of

SHARDS = (1, 100, 1000)
STEPS, DIM = 90, 1024  # half a minute at stride 8, as I3D gives it
TURNS = 5


def write_shards(folder: Path, video_ids: list[str], *, shards: int) -> list[Path]:
    """Feature files of a dataset with equal videos, and their status files beside them."""
    members: list[list[str]] = [[] for _ in range(shards)]
    for video_id in video_ids:
        members[shard_of(video_id, shards)].append(video_id)
    features, seconds = np.ones((STEPS, DIM), np.float32), np.arange(STEPS + 1) / 3
    for shard, names in enumerate(members):
        with h5py.File(folder / f"shard_{shard}.h5", "w") as file:
            file.attrs["provenance"] = json.dumps({"dim": DIM, "extractor": "i3d"})
            for name in names:
                file[f"{FEATURES}/{name}"] = features
                file[f"{START}/{name}"], file[f"{END}/{name}"] = seconds[:-1], seconds[1:]
            seal_file(file)
        statuses = pd.DataFrame({"video_id": names, "status": "ok", "reason": ""})
        statuses.to_csv(folder / f"shard_{shard}.csv", index=False)
    return [folder / f"shard_{shard}.h5" for shard in range(shards)]


def merge(folder: Path, video_ids: list[str], *, shards: int) -> dict[str, float]:
    """Processor seconds of merging, and the size of what it wrote beside that of the shards."""
    folder.mkdir()
    files = write_shards(folder, video_ids, shards=shards)
    rows = [(f"{name}-0", name, "train", 0.0, 1.0, 30.0, "a person.") for name in video_ids]
    write_moments(pd.DataFrame(rows, columns=MOMENT_COLUMNS), folder / "moments.csv")
    begin = time.process_time()
    merge_features(
        shards=files,
        statuses=[file.with_suffix(".csv") for file in files],
        output=folder / "merged.h5",
        coverage=folder / "coverage.csv",
        moments=folder / "moments.csv",
        reduction=ReductionSettings(),
        train_split="train",
        code_digest="benchmark",
    )
    return {
        "cpu_seconds": time.process_time() - begin,
        "merged_mb": (folder / "merged.h5").stat().st_size / 2**20,
        "shards_mb": sum(file.stat().st_size for file in files) / 2**20,
    }


def read(path: Path, video_ids: list[str]) -> tuple[float, float]:
    """Milliseconds a video of reading these videos from a merged file: just opened, and again."""
    times = []
    with FeatureStore(path) as store:
        for _ in range(2):
            begin = time.process_time()
            for video_id in video_ids:
                store.get(video_id)
            times.append((time.process_time() - begin) / len(video_ids) * 1000)
    return times[0], times[1]


def verify(folder: Path) -> float:
    """Megabytes a processor second of comparing all files with their checksums."""
    begin = time.process_time()
    result = verify_files(folder)
    if result.damaged or result.unsealed:
        raise SystemExit(f"expected nothing damaged, found {result}")
    return result.size_bytes / 1e6 / (time.process_time() - begin)


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=4000)
    parser.add_argument("--read", type=int, default=1000, help="videos that are read in each turn")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "merging.json")
    options = parser.parse_args()
    video_ids = [f"V{number:07d}" for number in range(options.videos)]
    chosen = random.Random(0).sample(video_ids, min(options.read, options.videos))
    with tempfile.TemporaryDirectory() as folder:
        merges = {shards: merge(Path(folder) / str(shards), video_ids, shards=shards) for shards in SHARDS}
        times: dict[int, list[tuple[float, float]]] = {shards: [] for shards in SHARDS}
        for _ in range(TURNS):
            for shards, found in times.items():
                found.append(read(Path(folder) / str(shards) / "merged.h5", chosen))
        verified = {shards: verify(Path(folder) / str(shards)) for shards in SHARDS}
    checked, again = ({s: statistics.median(pair[k] for pair in found) for s, found in times.items()} for k in (0, 1))
    result = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "load_at_end": os.getloadavg()[0]},
        "versions": library_versions(["h5py", "numpy"]),
        "videos": options.videos,
        "steps": STEPS,
        "dim": DIM,
        "shards": {
            str(shards): {
                **merges[shards],
                "read_and_check_ms_a_video": checked[shards],
                "read_again_ms_a_video": again[shards],
                "of_one_shard": checked[shards] / checked[1],
                "verify_mb_a_second": verified[shards],
            }
            for shards in SHARDS
        },
    }
    write_json(options.output, result)
    for shards in SHARDS:
        found = merges[shards]
        print(
            f"{shards:5,d} shards of {found['shards_mb']:.0f} MB: merged in {found['cpu_seconds']:.1f} s to "
            f"{found['merged_mb']:.1f} MB; {checked[shards]:.2f} ms to read and check a video, {again[shards]:.2f} to "
            f"read it again; verified at {verified[shards]:.0f} MB/s"
        )
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
