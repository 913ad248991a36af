r"""What a full run of Charades-STA is like: the main command over 6,672 short videos, watched; writes rehearsal.json.

    python benchmarks/rehearsal_videos.py --annotations FOLDER --output work/rehearsal
    python benchmarks/rehearsal.py --work work/rehearsal [--steps whole again added planned c3d]
    python benchmarks/rehearsal.py --work work/rehearsal --steps activitynet --activitynet FOLDER

`whole` runs the main command. It kills it with all its jobs once in the middle of extraction and once of training, as
a lost machine does, and goes on by the same command. `again` runs it once more, when nothing is to be done. `added`
adds a video that was missing and asks for the features. `planned` counts the jobs of dry runs: of a repeated stage,
of one stage and of a changed stride. `c3d` extracts three shards of 32, with random weights. `activitynet` writes
random numbers as features of 19,994 names, in the layout of the official file (15 GB, deleted at the end), and makes
the table of ActivityNet Captions from the annotations in FOLDER; `activitynet_again` does so once more.

Of each: seconds, lines printed, most memory and open files of all processes together, and the disk that each stage
holds. What single jobs took is in `results/charades_costs.csv`.
"""

import argparse
import contextlib
import csv
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import torch
from i3d_speed import processor_name
from memory import tree_bytes
from safetensors.torch import save_file

from vmr.features.c3d import C3d
from vmr.features.store import FeatureStore
from vmr.machine.use_log import cores_used
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions

ROOT = Path(__file__).parents[1]
TARGETS = ("results/charades_table.csv", "results/charades_report.html", "results/charades_costs.csv")
ACTIVITYNET = ("results/activitynet_table.csv", "results/activitynet_costs.csv")
C3D_SHARDS = {f"work/charades/features/c3d/shard_{n}.h5": f"logs/charades/extract/c3d_{n}.log" for n in range(3)}
OVERLAY = Path(__file__).with_suffix(".yaml")
POLL_SEC = 2.0


def command(work: Path, *arguments: str) -> list[str]:
    """The main command, in a folder of its own."""
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(work)]
    return [*snakemake, "--configfile", str(ROOT / "config.yaml"), str(OVERLAY), "--cores", "all", *arguments]


def watched(work: Path, arguments: list[str], *, name: str, until: Callable[[], bool] | None = None) -> dict[str, Any]:
    """Run Snakemake; seconds, lines, most memory and files. Once `until` is true, all its processes are killed."""
    printed = work / f"printed_{name}.txt"
    begin, most_mb, most_files, killed = time.monotonic(), 0.0, 0, False
    with printed.open("w") as file:
        running = subprocess.Popen(
            command(work, *arguments), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        while running.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                most_mb = max(most_mb, tree_bytes(psutil.Process(running.pid)) / 2**20)
                most_files = max(most_files, open_files(running.pid))
            if until and until():
                os.killpg(running.pid, signal.SIGKILL)
                killed = True
                break
            time.sleep(POLL_SEC)
        running.wait()
    return {
        "seconds": round(time.monotonic() - begin, 1), "exit_code": running.returncode, "killed": killed,
        "lines_printed": len(printed.read_text(errors="replace").splitlines()), "most_memory_mb": round(most_mb),
        "most_open_files": most_files,
    }  # fmt: skip


def open_files(pid: int) -> int:
    """Of a process and all that it started."""
    count = 0
    for process in [parent := psutil.Process(pid), *parent.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            count += process.num_fds()
    return count


def finished(work: Path, pattern: str) -> int:
    """How many files of a pattern there are."""
    return sum(1 for _ in (work / "work" / "charades").glob(pattern))


def whole(work: Path) -> list[dict[str, Any]]:
    """The main command until it is through, killed twice on the way."""
    moments: list[tuple[str, Callable[[], bool] | None]] = [
        ("to the middle of extraction", lambda: finished(work, "features/i3d/shard_*.h5") >= 16),
        ("to the first epochs of training", lambda: finished(work, "runs/i3d/*/seed_*/history.csv") >= 1),
        ("to the end", None),
    ]
    parts = []
    for number, (what, until) in enumerate(moments):
        parts.append({"part": what} | watched(work, ["--", *TARGETS], name=f"whole_{number}", until=until))
        print(parts[-1], flush=True)
        if parts[-1]["killed"]:
            subprocess.run(command(work, "--unlock", "--quiet", "--", *TARGETS), check=True)
    return parts


def added(work: Path) -> dict[str, Any]:
    """One of the missing videos comes."""
    with (work / "troubles.csv").open(newline="") as file:
        name = next(row["video_id"] for row in csv.DictReader(file) if row["trouble"] == "missing")
    videos = work / "data" / "charades" / "videos"
    other = next(path for path in sorted(videos.glob("*.mp4")) if path.stat().st_size > 10_000)
    shutil.copy(other, videos / f"{name}.mp4")
    found = watched(work, ["--", "work/charades/features/i3d.h5"], name="added")
    (videos / f"{name}.mp4").unlink()
    return found


def planned(work: Path) -> dict[str, Any]:
    """Jobs of dry runs, by rule."""
    asked = {
        "-R train": ["-R", "train"],
        "--until extract": ["--until", "extract", "-F"],
        "a changed stride": ["--config", "features={i3d: {stride: 4}}"],
    }
    result = {}
    for what, arguments in asked.items():
        done = subprocess.run(
            command(work, *arguments, "-n", "--quiet", "rules", "--", TARGETS[0]),
            capture_output=True,
            text=True,
            check=True,
        )
        counts = re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
        result[what] = {rule: int(count) for rule, count in counts}
    return result


def with_c3d(work: Path) -> dict[str, Any]:
    """C3D with random weights on about a tenth of the videos."""
    weights = work / "data" / "weights" / "c3d.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    save_file({name: tensor.contiguous() for name, tensor in C3d().state_dict().items()}, weights)
    shutil.rmtree((work / next(iter(C3D_SHARDS))).parent, ignore_errors=True)  # what is there would take no time
    weights_of = ["--config", f"features={{c3d: {{weights: {weights}}}}}"]
    run = watched(work, [*weights_of, "--", *C3D_SHARDS], name="c3d")
    steps = core = 0.0
    for shard, log in C3D_SHARDS.items():
        with FeatureStore(work / shard) as store:
            steps += sum(map(store.steps, store.video_ids))
        core += cores_used((work / log).read_text())
    return run | {"steps": int(steps), "cpu_seconds_a_step": round(core / steps, 3)}


def write_activitynet(annotations: Path, work: Path) -> None:
    """Annotations, and random numbers as features: a step is 8 frames of 30 a second."""
    folder = work / "data" / "activitynet"
    folder.mkdir(parents=True, exist_ok=True)
    lengths: dict[str, float] = {}
    for name in ("train.json", "val_1.json", "val_2.json"):
        shutil.copy(annotations / name, folder)
        for video, entry in json.loads((folder / name).read_text()).items():
            lengths.setdefault(video, float(entry["duration"]))
    lengths |= {f"v_without_{number:05d}": 60.0 for number in range(19_994 - len(lengths))}
    rng = np.random.default_rng(0)
    pool = rng.normal(size=(60_000, 500)).astype(np.float32)
    with h5py.File(folder / "c3d.hdf5", "w") as file:
        for number, (video, seconds) in enumerate(lengths.items()):
            steps = max(int(seconds * 30 / 8) - 1, 1)
            begin = int(rng.integers(len(pool) - steps))
            # No two videos alike, without drawing 4 billion numbers.
            file[f"{video}/c3d_features"] = pool[begin : begin + steps] + np.float32(number * 1e-4)


def activitynet(annotations: Path, work: Path) -> dict[str, Any]:
    """The other dataset, from a file of features to the table of three splits."""
    write_activitynet(annotations, work)
    run = watched(work, ["--", *ACTIVITYNET], name="activitynet")
    return run | {"stages": stages(work, ACTIVITYNET[1]), "disk_mb": disk(work, "activitynet")}


def activitynet_again(work: Path) -> dict[str, Any]:
    """Nothing is to be done; then the file of features goes."""
    run = watched(work, ["--", *ACTIVITYNET], name="activitynet_again")
    (work / "data" / "activitynet" / "c3d.hdf5").unlink()
    return run


def stages(work: Path, costs: str = TARGETS[2]) -> list[dict[str, str]]:
    """The table of costs: jobs, seconds, processor seconds and most memory of each rule."""
    with (work / costs).open(newline="") as file:
        return list(csv.DictReader(file))


def disk(work: Path, dataset: str = "charades") -> dict[str, float]:
    """MB of each folder of results."""
    folders = [
        *(work / "work" / dataset).iterdir(),
        work / "logs",
        work / "results",
        work / ".snakemake",
        work / "data",
    ]
    return {
        str(folder.relative_to(work)): round(
            sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20, 1
        )
        for folder in folders
        if folder.is_dir()
    }


def main() -> None:
    """Run the steps and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="what rehearsal_videos.py wrote")
    parser.add_argument("--steps", nargs="+", default=["whole", "again", "added", "planned"])
    parser.add_argument("--activitynet", type=Path, help="folder of train.json, val_1.json and val_2.json")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "rehearsal.json")
    options = parser.parse_args()
    work = options.work.resolve()
    steps: dict[str, Callable[[], Any]] = {
        "whole": lambda: {"parts": whole(work), "stages": stages(work), "disk_mb": disk(work)},
        "again": lambda: watched(work, ["--", *TARGETS], name="again"),
        "added": lambda: added(work),
        "planned": lambda: planned(work),
        "c3d": lambda: with_c3d(work),
        "activitynet": lambda: activitynet(options.activitynet, work),
        "activitynet_again": lambda: activitynet_again(work),
    }
    result = json.loads(options.output.read_text()) if options.output.exists() else {}
    for step in options.steps:
        result[step] = steps[step]()
        result.setdefault("measured", {})[step] = {
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "machine": {"processor": processor_name(), "cores": os.cpu_count()},
            "versions": library_versions(["snakemake", "torch", "decord"]),
        }
        write_json(options.output, result)
        print(step, result[step], flush=True)


if __name__ == "__main__":
    main()
