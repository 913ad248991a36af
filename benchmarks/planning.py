"""Seconds and memory of planning: 10 thousand, 100 thousand and a million videos.

    python benchmarks/planning.py [--case 1000000:1000 ...] [--folder DISK]

For each number of videos, a folder of as many empty files, and dry runs of `results/charades_table.csv` as a user would
start them, each a process of its own: of everything, when nothing is there yet; of nothing, when all is up to date
(the files are empty, Snakemake's own records of them are those that `--touch` writes); and after one more video came,
which may probe its own shard only. Processor seconds are printed beside those of the clock, since they
hardly depend on what else the machine does.
"""

import argparse
import datetime
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions

ROOT = Path(__file__).parents[1]
TARGET = "results/charades_table.csv"
LIMIT_SEC, LIMIT_GB = 30.0, 2.0
# A shard for every thousand videos of the largest case; fewer videos a shard where there are fewer of them.
CASES = {10_000: 50, 100_000: 200, 1_000_000: 1000}


@dataclass(frozen=True)
class Planned:
    """What one run of Snakemake took, and the jobs that it counted."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    jobs: int


def snakemake(folder: Path, *arguments: str) -> tuple[Planned, str]:
    """Run Snakemake on this checkout's rules in a folder; what it took and printed."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(ROOT / "config.yaml"), str(folder / "overrides.yaml"), "--cores", "2", "--nocolor"]
    output = folder / "printed.txt"
    begin = time.perf_counter()
    with output.open("w") as file:
        # What is planned must not depend on the cards of this machine.
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        running = subprocess.Popen(
            [*command, *arguments, "--", TARGET], stdout=file, stderr=subprocess.STDOUT, env=environment
        )
        _, status, usage = os.wait4(running.pid, 0)
    seconds = time.perf_counter() - begin
    running.returncode = os.waitstatus_to_exitcode(status)
    text = output.read_text()
    if running.returncode:
        raise SystemExit(f"snakemake {' '.join(arguments)} failed:\n{text[-2000:]}")
    total = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    jobs = int(total[1]) if total else 0
    return Planned(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, jobs), text


def dry_run(folder: Path) -> tuple[Planned, str]:
    """Plan, and print the number of jobs of each rule only."""
    return snakemake(folder, "--dry-run", "--quiet", "rules")


def write_dataset(folder: Path, *, videos: int, shards: int) -> None:
    """The files that planning looks at: annotations by their names and times, videos also by their sizes."""
    data = folder / "data" / "charades"
    (data / "videos").mkdir(parents=True)
    for split in ("train", "test"):
        (data / f"charades_sta_{split}.txt").write_text("V0000000 0.0 2.0##a person sits down.\n")
        (data / f"Charades_v1_{split}.csv").write_text("id,length\nV0000000,4.0\n")
    for number in range(videos):
        (data / "videos" / f"V{number:07d}.mp4").touch()
    (folder / "overrides.yaml").write_text(yaml.safe_dump({"datasets": {"charades": {"shards": shards}}}))


def finish(folder: Path) -> Planned:
    """Make every output as an empty file, and have Snakemake record them as made with the present rules."""
    _, text = snakemake(folder, "--dry-run")
    for line in re.findall(r"^    output: (.*)$", text, re.MULTILINE):
        for name in line.split(", "):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return snakemake(folder, "--touch", "--forceall", "--quiet", "all")[0]


def measure(folder: Path, *, videos: int, shards: int) -> dict[str, object]:
    """Plan for so many videos at the three moments that the module's text names."""
    write_dataset(folder, videos=videos, shards=shards)
    fresh, _ = dry_run(folder)
    finish(folder)
    done, text = dry_run(folder)
    if done.jobs or "Nothing to be done" not in text:
        raise SystemExit(f"expected nothing to be done, found:\n{text[-2000:]}")
    (folder / "data" / "charades" / "videos" / "added.mp4").touch()
    added, text = dry_run(folder)
    if not re.search(r"^probe_videos +1$", text, re.MULTILINE):
        raise SystemExit(f"expected one shard to be probed, found:\n{text[-2000:]}")
    moments = {"fresh": fresh, "up_to_date": done, "one_video_added": added}
    for name, planned in moments.items():
        print(
            f"{videos:9,d} videos in {shards:5,d} shards, {name:15s} {planned.seconds:6.1f} s "
            f"({planned.cpu_seconds:.1f} of the processor), {planned.peak_mb:5.0f} MB, {planned.jobs:6,d} jobs",
            flush=True,
        )
    return {"videos": videos, "shards": shards, **{name: asdict(planned) for name, planned in moments.items()}}


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="VIDEOS:SHARDS, repeated; default: the three of the text")
    parser.add_argument("--folder", type=Path, help="where the empty files go for the time being")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "planning.json")
    options = parser.parse_args()
    cases = [tuple(map(int, case.split(":"))) for case in options.case or ()] or list(CASES.items())
    results = []
    for videos, shards in cases:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            results.append(measure(Path(folder), videos=videos, shards=shards))
    # Imports torch. At the top it would count: Linux hands the memory of whoever starts a process down to it.
    from i3d_speed import processor_name

    every = [planned for case in results for planned in case.values() if isinstance(planned, dict)]
    slowest, largest = max(p["seconds"] for p in every), max(p["peak_mb"] for p in every) / 1024
    result = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "load_at_end": os.getloadavg()[0]},
        "versions": library_versions(["snakemake"]),
        "cases": results,
        "slowest_sec": slowest,
        "largest_gb": largest,
        "limit_sec": LIMIT_SEC,
        "limit_gb": LIMIT_GB,
    }
    write_json(options.output, result)
    print(f"at most {slowest:.1f} s of {LIMIT_SEC:.0f} and {largest:.2f} GB of {LIMIT_GB:.0f}; {options.output}")


if __name__ == "__main__":
    main()
