r"""What a full run of Charades-STA is like: the main command over 6,672 short videos, watched; writes rehearsal.json.

    python benchmarks/rehearsal_videos.py --annotations FOLDER --output work/rehearsal
    python benchmarks/rehearsal.py --work work/rehearsal [--steps whole again added planned]

`whole` runs the main command. It kills it with all its jobs once in the middle of extraction and once of training, as
a lost machine does, and goes on by the same command. `again` runs it once more, when nothing is to be done. `added`
adds a video that was missing and asks for the features. `planned` counts the jobs of dry runs: of a repeated stage,
of one stage and of a changed stride. Of each: seconds, lines printed, most memory and open files of all processes
together, and the disk that each stage holds. What single jobs took is in `results/charades_costs.csv`.
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

import psutil
from i3d_speed import processor_name
from memory import tree_bytes

from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions

ROOT = Path(__file__).parents[1]
TARGETS = ("results/charades_table.csv", "results/charades_report.html", "results/charades_costs.csv")
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


def stages(work: Path) -> list[dict[str, str]]:
    """The table of costs: jobs, seconds, processor seconds and most memory of each rule."""
    with (work / TARGETS[2]).open(newline="") as file:
        return list(csv.DictReader(file))


def disk(work: Path) -> dict[str, float]:
    """MB of each folder of results."""
    folders = [
        *(work / "work" / "charades").iterdir(),
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
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "rehearsal.json")
    options = parser.parse_args()
    work = options.work.resolve()
    steps: dict[str, Callable[[], Any]] = {
        "whole": lambda: {"parts": whole(work), "stages": stages(work), "disk_mb": disk(work)},
        "again": lambda: watched(work, ["--", *TARGETS], name="again"),
        "added": lambda: added(work),
        "planned": lambda: planned(work),
    }
    result = json.loads(options.output.read_text()) if options.output.exists() else {}
    for step in options.steps:
        result[step] = steps[step]()
        result |= {
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "machine": {"processor": processor_name(), "cores": os.cpu_count()},
            "versions": library_versions(["snakemake", "torch", "decord"]),
        }
        write_json(options.output, result)
        print(step, result[step], flush=True)


if __name__ == "__main__":
    main()
