"""A Slurm for the tests of this folder, and the workflow started in it as a user would, through the shipped profile."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from slurm.cluster import Cluster, why_not

ROOT = Path(__file__).parents[2]
# The whole workflow on eight tiny videos: what is tried here is how jobs are started, lost and started again.
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


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of two nodes with a card each, ended after the tests."""
    if "VMR_SLURM" not in os.environ:
        pytest.skip("starts daemons: run it by `make test-slurm`")
    if reason := why_not():
        pytest.skip(reason)
    slurm = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


def command(folder: Path, *arguments: str) -> list[str]:
    """Snakemake on this checkout's Snakefile in a folder, through the profile for Slurm."""
    overrides = folder / "overrides.yaml"
    overrides.write_text(yaml.safe_dump(TINY))
    parts = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder),
        *("--configfile", ROOT / "config.yaml", overrides, "--workflow-profile", ROOT / "workflow/profiles/slurm"),
        # No accounting here; and a test does not wait as long as a cluster's queue.
        *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
        *("--seconds-between-status-checks", "2", "--latency-wait", "5", "--nocolor", *arguments, "--", TABLE),
    ]
    return list(map(str, parts))


class Run:
    """The workflow running in a folder.

    Attributes:
        folder: its working directory.
        log: file of what Snakemake prints.
    """

    def __init__(self, cluster: Cluster, folder: Path, *arguments: str) -> None:
        self.cluster, self.folder = cluster, folder
        self.log = folder / "snakemake.log"
        with self.log.open("a") as output:
            self.process = subprocess.Popen(
                command(folder, *arguments), env=cluster.environment, stdout=output, stderr=subprocess.STDOUT
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

    def extracting(self) -> tuple[dict[str, str], int]:
        """The job that extracts, once a video is finished and others are not; and the number of finished ones."""

        def job() -> dict[str, str] | None:
            running = self.cluster.jobs(self.folder, states="running")
            return next((each for each in running if "extract_i3d" in each["comment"]), None)

        def some() -> int:
            return len(list((self.folder / f"{SHARD}.parts").glob("[!.]*.h5")))

        self.wait_for("a finished video", some)
        found = job()
        assert found is not None, "the shard was finished before the fault; make its videos longer"
        return found, some()

    def finished_before(self) -> int:
        """Videos that the last extraction found finished, as its log says."""
        text = (self.folder / "logs/demo/extract_i3d/0.log").read_text()
        return int(text.split(" of them finished before")[0].split()[-1])


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The workflow, run to its end without a fault."""
    run = Run(cluster, tmp_path_factory.mktemp("undisturbed"))
    run.finish()
    return run
