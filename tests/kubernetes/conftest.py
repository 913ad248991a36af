"""A Kubernetes for the tests of this folder, and the workflow started in it as a user would, through the profile."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import clusters
import pytest
from kubernetes.cluster import IMAGE, NAMESPACE, Cluster

ROOT = Path(__file__).parents[2]
MADE = ROOT / "work" / "kubernetes"


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pods share: this checkout, with a .venv of the Python that their image has."""
    if "VMR_KUBERNETES" not in os.environ:
        pytest.skip("builds and starts a Kubernetes: run it by `make test-kubernetes`")
    if not (MADE / "ready").exists():
        pytest.skip("envs/kubernetes.sh could not make its programs here; it says why")
    volume = tmp_path_factory.mktemp("volume")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, volume / "vmr" / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    # The image is Debian's, and so must be the Python of .venv.
    subprocess.run(
        ["make", "setup"], cwd=volume / "vmr", env=os.environ | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        check=True, capture_output=True,
    )  # fmt: skip
    profile = volume / "vmr/workflow/profiles/kubernetes/config.yaml"
    text = profile.read_text()
    for shipped, ours in (("'vmr:latest'", IMAGE), ("'default'", NAMESPACE), ("'/vmr'", volume)):
        assert shipped in text
        text = text.replace(shipped, f"'{ours}'")
    profile.write_text(text)
    return volume


@pytest.fixture(scope="session")
def cluster(volume: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Kubernetes of one node with one card, ended after the tests."""
    started = Cluster(tmp_path_factory.mktemp("kubernetes"), made=MADE, volume=volume)
    try:
        started.start()
        yield started
    finally:
        started.stop()


class Run(clusters.Run):
    """The workflow running in a folder of the volume through the profile, with the rights of the role only."""

    def __init__(self, cluster: Cluster, name: str, *arguments: str) -> None:
        self.cluster, project = cluster, cluster.volume / "vmr"
        self.before = {job["metadata"]["name"] for job in cluster.jobs()}
        folder = project / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        environment = cluster.environment("head")
        environment["PATH"] = os.pathsep.join([str(project / ".venv/bin"), environment["PATH"]])
        command = [
            *(project / ".venv/bin/snakemake", "--snakefile", project / "Snakefile", "--directory", folder),
            *("--configfile", project / "config.yaml", clusters.write_overrides(folder)),
            *("--workflow-profile", project / "workflow/profiles/kubernetes", "--max-threads", "1"),
            *("--seconds-between-status-checks", "2", "--latency-wait", "5", "--nocolor", *arguments),
        ]
        super().__init__(folder, command, environment)

    def jobs(self, rule: str = "") -> list[dict]:
        """The jobs of this run, of one rule only if it is named."""
        jobs = [job for job in self.cluster.jobs() if job["metadata"]["name"] not in self.before]
        return [job for job in jobs if job["metadata"]["name"].startswith(f"vmr-{rule}")]

    def extracting(self) -> tuple[str, int]:
        """Name of the job that extracts, once a video is finished and others are not; and how many are finished."""
        self.wait_for("a finished video", self.videos_done)
        running = [job for job in self.jobs("extract") if job["status"].get("active")]
        assert running, "the shard was finished before the fault; make its videos longer"
        return running[0]["metadata"]["name"], self.videos_done()


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster) -> Run:
    """The workflow, run to its end without a fault."""
    run = Run(cluster, "undisturbed")
    run.finish()
    return run
