"""The whole workflow through the profile for Kubernetes, and what clusters do to jobs."""

import json
import subprocess
import time

import pandas as pd
import pytest
from clusters import TABLE, check, copy_decoded
from kubernetes.conftest import Run

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def decoded(cluster, undisturbed, request):
    """Name of a folder in which everything up to the decoded frames is done."""
    name = request.node.name
    copy_decoded(undisturbed.folder, undisturbed.folder.with_name(name))
    return name


def test_the_table_comes_out(undisturbed):
    table = pd.read_csv(undisturbed.folder / TABLE)
    computed = table[table["method"] == "CI-MHA"]
    assert len(computed) == 1
    assert computed[["R1@0.3", "R1@0.5", "R1@0.7", "mIoU"]].notna().all().all()


def test_each_job_ran_once_and_downloads_ran_beside_snakemake(undisturbed):
    jobs = undisturbed.jobs()
    assert all(job["status"].get("succeeded") == 1 and not job["status"].get("failed") for job in jobs)
    rules = sorted(job["metadata"]["name"].removeprefix("vmr-").rsplit("-", 1)[0] for job in jobs)
    assert rules == sorted(
        ["compute-baselines", "decode-frames", "embed-queries", "evaluate", "extract-i3d", "make-table",
         "merge-features", "parse-annotations", "probe-videos", "render-demo", "train"]
    )  # fmt: skip


def test_extraction_and_training_ask_for_the_card_and_the_rest_does_not(cluster, undisturbed):
    asked = {}
    for job in undisturbed.jobs():
        (container,) = job["spec"]["template"]["spec"]["containers"]
        card = container["resources"]["limits"].get("nvidia.com/gpu", "0")
        asked.setdefault(card, set()).add(job["metadata"]["name"].removeprefix("vmr-").rsplit("-", 1)[0])
    assert asked["1"] == {"extract-i3d", "train"} and set(asked) == {"0", "1"}


def test_a_job_is_deleted(cluster, decoded, undisturbed):
    run = Run(cluster, decoded)
    job, finished = run.extracting()
    cluster.kubectl("delete", "job", job, "-n", "videos")
    check(run, undisturbed)
    assert run.finished_before() >= finished


def test_a_pod_is_deleted(cluster, decoded, undisturbed):
    run = Run(cluster, decoded)
    job, finished = run.extracting()
    cluster.kubectl("delete", "pod", "-l", f"job-name={job}", "-n", "videos", "--grace-period=1")
    check(run, undisturbed)
    assert run.finished_before() >= finished


def test_too_little_memory_and_more_at_the_next_attempt(cluster, decoded, undisturbed):
    # All of a job's resources: on the command line the option takes the place of the profile's.
    run = Run(cluster, decoded, "--set-resources", "extract:mem_mb=300*attempt**4", "extract:gpu=1", "train:gpu=1")
    check(run, undisturbed)
    first, second = run.jobs("extract")
    limits = [
        job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] for job in (first, second)
    ]
    assert limits == ["300M", "4800M"]
    (ended,) = cluster.pod_of(first["metadata"]["name"])["status"]["containerStatuses"]
    assert ended["state"]["terminated"]["reason"] in ("OOMKilled", "Error")
    assert second["status"].get("succeeded") == 1


def test_a_job_that_waits_for_a_card_has_all_its_time_yet(cluster, volume, undisturbed):
    folder = undisturbed.folder.with_name("waiting")
    folder.mkdir()
    profile = volume / "vmr/workflow/profiles/kubernetes"
    properties = {
        "rule": "train", "threads": 1,
        "resources": {"mem_mb": 100, "gpu": 2, "runtime": 1, "k8s_image": "localhost/vmr:1",
                      "k8s_namespace": "videos", "k8s_claim": "vmr", "k8s_mount": str(volume)},
    }  # fmt: skip
    (folder / "job.sh").write_text(f"#!/bin/sh\n# properties = {json.dumps(properties)}\ntrue\n")

    def said(program, *arguments):
        call = [profile / program, *arguments]
        environment = cluster.environment("head")
        return subprocess.run(
            call, env=environment, cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    job = said("submit.py", folder / "job.sh")
    time.sleep(75)  # longer than its run time of one minute
    assert said("status.py", job) == "running"
    assert cluster.pod_of(job.split("/")[1])["status"]["phase"] == "Pending"
    said("cancel.sh", job)
    assert said("status.py", job) == "failed"
