"""The whole workflow on eight tiny videos, run on a cluster as a user would; for the tests of clusters."""

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import yaml

# What is tried is how jobs are started, lost and started again.
TINY = {
    "datasets": {
        "demo": {
            "shards": 1,
            "render": {"train_videos": 6, "test_videos": 2, "duration_sec": 4.0, "seed": 1},
            "overrides": {
                "model": {"hidden": 16, "query_hidden": 8, "heads": 2},
                "training": {"seeds": [0], "epochs": 1, "methods": ["ci_mha"]},
            },
        }
    }
}
TABLE = "results/demo_table.csv"
SHARD = "work/demo/features/i3d/shard_0.h5"
LONGEST_SEC = 900


def write_overrides(folder: Path) -> Path:
    """The settings of the tiny workflow, as a file in a folder."""
    overrides = folder / "overrides.yaml"
    overrides.write_text(yaml.safe_dump(TINY))
    return overrides


class Run:
    """The workflow running in a folder.

    Attributes:
        folder: its working directory.
        log: file of what Snakemake prints.
    """

    def __init__(self, folder: Path, command: Sequence[str | Path], environment: dict[str, str]) -> None:
        self.folder, self.log = folder, folder / "snakemake.log"
        with self.log.open("a") as output:
            self.process = subprocess.Popen(
                [*map(str, command), "--", TABLE], env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def finish(self) -> None:
        """Wait for the end, which must be a good one."""
        if code := self.process.wait(timeout=LONGEST_SEC):
            pytest.fail(f"snakemake ended with {code}:\n{self.log.read_text()[-6000:]}")

    def wait_for(self, what: str, condition: Callable[[], object]) -> object:
        """Wait until something is there, while Snakemake runs; what it is."""
        deadline = time.monotonic() + LONGEST_SEC
        while time.monotonic() < deadline:
            if found := condition():
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        return pytest.fail(f"{what} did not come:\n{self.log.read_text()[-6000:]}")

    def videos_done(self) -> int:
        """Videos of the shard that is extracted now that are finished."""
        return len(list((self.folder / f"{SHARD}.parts").glob("[!.]*.h5")))

    def finished_before(self) -> int:
        """Videos that the last extraction found finished, as its log says."""
        text = (self.folder / "logs/demo/extract/i3d_0.log").read_text()
        if "is finished already" in text:  # by a job that went on for a while after it was deleted
            return sum(TINY["datasets"]["demo"]["render"][part] for part in ("train_videos", "test_videos"))
        return int(text.split(" of them finished before")[0].split()[-1])


def copy_decoded(source: Path, target: Path) -> None:
    """A folder in which everything up to the decoded frames is done, as Snakemake's own records say too."""
    # The plugin for Slurm deletes the scheduler's logs of jobs that ended well, and by that its folder, a while later.
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("locks", "snakemake.log", "slurm"))
    for name in ("results", "work/demo/features", "work/demo/runs", "logs/demo/extract"):
        shutil.rmtree(target / name)


def check(run: Run, undisturbed: Run) -> None:
    """The run ends, and with the table of the undisturbed one."""
    run.finish()
    expected = pd.read_csv(undisturbed.folder / TABLE)
    pd.testing.assert_frame_equal(pd.read_csv(run.folder / TABLE), expected)
