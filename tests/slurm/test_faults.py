"""What clusters do to jobs: each time the right table comes out, and nothing finished is extracted again."""

import os
import signal
import subprocess
import sys

import pytest
from clusters import check, copy_decoded
from slurm.conftest import ROOT, Run

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif("VMR_ALL_FAULTS" not in os.environ, reason="takes ten minutes: `make test-slurm-faults`"),
]


@pytest.fixture
def decoded(undisturbed, tmp_path):
    """A folder in which everything up to the decoded frames is done."""
    copy_decoded(undisturbed.folder, tmp_path / "run")
    return tmp_path / "run"


def test_a_node_goes_down(cluster, decoded, undisturbed):
    run = Run(cluster, decoded)
    job, finished = run.extracting()
    cluster.kill_node(job["node"], job=job["id"])
    try:
        check(run, undisturbed)
    finally:
        cluster.start_node(job["node"])
    assert run.finished_before() >= finished


@pytest.mark.parametrize("command", [["scancel"], ["scontrol", "requeue"]])
def test_a_job_is_cancelled_or_requeued(cluster, decoded, undisturbed, command):
    run = Run(cluster, decoded)
    job, finished = run.extracting()
    cluster.call(*command, job["id"])
    check(run, undisturbed)
    assert run.finished_before() >= finished


def test_too_little_memory_and_more_at_the_next_attempt(cluster, decoded, undisturbed):
    # All of a job's resources: on the command line the option takes the place of the profile's.
    resources = ("extract:mem_mb=300*attempt**4", "extract:gpu=1", "extract:tasks=1", "train:gpu=1")
    run = Run(cluster, decoded, "--set-resources", *resources)
    check(run, undisturbed)
    extractions = [
        cluster.call("scontrol", "show", "job", job["id"])
        for job in cluster.jobs(decoded)
        if "extract" in job["comment"]
    ]
    asked = [details.split("mem=")[1].split(",")[0] for details in extractions]
    states = [details.split("JobState=")[1].split()[0] for details in extractions]
    # Slurm calls the first one by what it hears first: that it took too much, or that its script failed for it.
    ended = {"OUT_OF_MEMORY": "out of memory", "FAILED": "out of memory", "COMPLETED": "completed"}
    found = sorted((memory, ended[state]) for memory, state in zip(asked, states, strict=True))
    assert found == [("300M", "out of memory"), ("4800M", "completed")]
    (log,) = decoded.glob("logs/slurm/rule_extract/**/*.log")  # those of jobs that ended well are deleted
    assert "exceeded memory limit" in log.read_text()


def test_the_head_is_killed_and_started_again(cluster, decoded, undisturbed):
    first = Run(cluster, decoded)
    job, finished = first.extracting()
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    # Its job goes on, as on a real cluster. The second one for the same shard waits for it.
    unlock = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", decoded, "--unlock"]
    subprocess.run([*map(str, unlock), "--configfile", str(ROOT / "config.yaml")], check=True, capture_output=True)
    second = Run(cluster, decoded)
    check(second, undisturbed)
    state = cluster.call("scontrol", "show", "job", job["id"]).split("JobState=")[1].split()[0]
    assert state == "COMPLETED"
    assert finished
    assert "is finished already" in (decoded / "logs/demo/extract/i3d_0.log").read_text()
