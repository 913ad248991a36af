"""A Slurm for the tests of this folder, and the workflow started in it as a user would, through the shipped profile."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import clusters
import pytest
from slurm.cluster import Cluster, why_not

ROOT = Path(__file__).parents[2]


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


class Run(clusters.Run):
    """The workflow running in a folder through the profile for Slurm."""

    def __init__(self, cluster: Cluster, folder: Path, *arguments: str) -> None:
        self.cluster = cluster
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder),
            *("--configfile", ROOT / "config.yaml", clusters.write_overrides(folder)),
            *("--workflow-profile", ROOT / "workflow/profiles/slurm"),
            # No accounting here; and a test does not wait as long as a cluster's queue.
            *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
            *("--seconds-between-status-checks", "2", "--latency-wait", "5", "--nocolor", *arguments),
        ]
        super().__init__(folder, command, cluster.environment)

    def extracting(self) -> tuple[dict[str, str], int]:
        """The job that extracts, once a video is finished and others are not; and the number of finished ones."""
        self.wait_for("a finished video", self.videos_done)
        running = self.cluster.jobs(self.folder, states="running")
        found = next((job for job in running if "extract" in job["comment"]), None)
        assert found is not None, "the shard was finished before the fault; make its videos longer"
        return found, self.videos_done()


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The workflow, run to its end without a fault."""
    run = Run(cluster, tmp_path_factory.mktemp("undisturbed"))
    run.finish()
    return run
