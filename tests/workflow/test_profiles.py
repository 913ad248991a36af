"""The shipped profiles: what each rule asks for, and jobs that really go through the scripts of a scheduler."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import h5py
import pytest
import yaml
from snakemake.cli import get_argument_parser

from vmr.features.store import GROUPS

PROFILES = Path(__file__).parents[2] / "workflow" / "profiles"
CLUSTERS = ("slurm", "kubernetes", "generic")
CARD = {"extract", "train"}

# A stand-in for kubectl: runs a job's command, remembers what it was given, and answers like the real one.
KUBECTL = """#!/usr/bin/env python3
import json, os, subprocess, sys
from pathlib import Path
folder = Path(os.environ["FAKE_KUBECTL"])
verb = sys.argv[1]
if verb == "create":
    job = json.load(sys.stdin)
    (folder / (job["metadata"]["name"] + ".json")).write_text(json.dumps(job))
    container = job["spec"]["template"]["spec"]["containers"][0]
    subprocess.Popen(container["command"], cwd=container["workingDir"], stdin=subprocess.DEVNULL,
                     stdout=(folder / (job["metadata"]["name"] + ".log")).open("w"), stderr=subprocess.STDOUT)
elif verb == "get":
    name = sys.argv[3]
    if not (folder / (name + ".json")).exists():
        sys.exit('Error from server (NotFound): jobs.batch "%s" not found' % name)
    if os.environ.get("FAKE_KUBECTL_DOWN"):
        sys.exit("Unable to connect to the server")
    text = (folder / (name + ".log")).read_text()
    marks = (("Complete", "1 of 1 steps (100%) done"), ("Failed", "Exiting because"))
    done = [kind for kind, mark in marks if mark in text]
    print(json.dumps({"status": {"conditions": [{"type": kind, "status": "True"} for kind in done]}}))
"""


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """The stand-in on the search path; the folder with the jobs that it was given."""
    folder = tmp_path / "kubectl"
    folder.mkdir()
    (folder / "kubectl").write_text(KUBECTL)
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("FAKE_KUBECTL", str(folder))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("name", ["local", "default", *CLUSTERS])
def test_every_entry_is_an_option_of_snakemake(name):
    known = {option.lstrip("-") for action in get_argument_parser()._actions for option in action.option_strings}
    entries = yaml.safe_load((PROFILES / name / "config.yaml").read_text())
    assert not [entry for entry in entries if entry not in known | {"slurm-logdir"}]


@pytest.mark.parametrize("name", CLUSTERS)
def test_extraction_and_training_ask_for_one_card_and_nothing_else_does(name):
    rules = yaml.safe_load((PROFILES / name / "config.yaml").read_text())["set-resources"]
    assert {rule for rule, asked in rules.items() if asked["gpu"]} == CARD
    assert all(asked["gpu"] == 1 for rule, asked in rules.items() if rule in CARD)


def asked_for(run):
    """What each rule of a dry run asks for."""
    return {
        rule: dict(re.findall(r"(\w+)=([^,\s]+)", resources))
        for rule, resources in re.findall(
            r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: (.*)$", run.stdout, re.MULTILINE
        )
    }


ONE_SHARD = {"datasets": {"charades": {"shards": 1}}}


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_is_planned_through_a_profile(snakemake, charades_annotations, name):
    target = "work/charades/runs/i3d/ci_mha/seed_0/run.json"
    profile = ("--workflow-profile", PROFILES / name)
    asked = asked_for(snakemake("--dry-run", *profile, "--", target, overrides=ONE_SHARD))
    assert {rule for rule, values in asked.items() if int(values.get("gpu", 0))} == CARD
    # What earlier jobs will tell: how long the shard's videos are, and how many videos there are.
    assert asked["decode_frames"]["runtime"] == asked["extract"]["runtime"] == asked["train"]["mem_mb"] == "<TBD>"
    assert (asked["parse_annotations"]["mem_mb"], asked["parse_annotations"]["runtime"]) == ("2000", "60")
    assert (asked["extract"]["mem_mb"], asked["train"]["runtime"]) == ("6000", "1440")


def manifest(workdir, *seconds):
    folder = workdir / "work" / "charades" / "videos"
    folder.mkdir(parents=True)
    lines = ["video_id,duration_sec", *(f"v{number},{value}" for number, value in enumerate(seconds))]
    (folder / "shard_0.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_run_time_grows_with_the_shard_and_the_attempt(snakemake, workdir, charades_annotations, attempt):
    manifest(workdir, 3600, "", 5400.0)  # 2.5 hours, and a video that is missing
    only = ("--allowed-rules", "decode_frames", "--attempt", attempt)
    asked = asked_for(snakemake("--dry-run", *only, "--", "work/charades/frames/shard_0.h5"))["decode_frames"]
    # 30 minutes, and 30 for each hour
    assert (asked["runtime"], asked["mem_mb"]) == (str(105 * attempt), str(4000 * attempt))


@pytest.mark.parametrize(("numbers", "asked_mb"), [(1024, 4000 + 1000), (4096, 4000 + 4000), (None, 4000 + 1000)])
def test_memory_of_training_grows_with_the_features_it_holds(
    snakemake, workdir, charades_annotations, numbers, asked_mb
):
    folder = workdir / "work" / "charades"
    for file in ("annotations/moments.csv", "features/i3d.h5", "frames/shard_0.csv", "queries/queries.h5"):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).touch()
    # 2,000 videos of at most 128 steps of 1,024 numbers in single precision are 1,000 MiB.
    rows = [f"q{number},v{number // 2}" for number in range(4000)]
    (folder / "annotations" / "moments.csv").write_text("\n".join(["query_id,video_id", *rows]) + "\n")
    if numbers is None:
        (folder / "features" / "i3d.h5").write_bytes(b"damaged")
    else:
        with h5py.File(folder / "features" / "i3d.h5", "w") as file:
            file.attrs["provenance"] = json.dumps({"dim": numbers, "extractor": "i3d"})
            for group in GROUPS:
                file.create_group(group)
    target = "work/charades/runs/i3d/ci_mha/seed_0/run.json"
    planned = snakemake("--dry-run", "--allowed-rules", "train", "--", target, overrides=ONE_SHARD)
    assert asked_for(planned)["train"]["mem_mb"] == str(asked_mb)


LOCAL = {"prepare_asset", "fetch_annotations"}  # run where Snakemake does


def test_each_attempt_of_every_job_asks_for_more(snakemake, charades_annotations):
    targets = ("results/charades_report.html", "results/charades_costs.csv", "results/charades_sim_table.csv",
               "results/demo_table.csv")  # fmt: skip
    # Without default resources: each job states its own, whatever a command line or profile says.
    first, *later = (
        asked_for(snakemake("--dry-run", "--attempt", attempt, "--", *targets, overrides=ONE_SHARD))
        for attempt in (1, 2, 3)
    )
    assert {"render_demo", "parse_annotations", "simulate_charades_sim", "gather_costs"} < set(first)
    for attempt, asked in enumerate(later, 2):
        for rule in set(first) - LOCAL:
            for what in ("mem_mb", "runtime"):
                if (once := first[rule][what]) != "<TBD>":
                    assert int(asked[rule][what]) == attempt * int(once), (rule, what)


def test_the_command_in_the_profile_of_slurm_gives_each_job_its_account(snakemake, workdir, charades_annotations):
    header = re.match(r"(#.*\n)+", (PROFILES / "slurm" / "config.yaml").read_text())[0].replace("\n#", "\n")
    command = re.search(r"^ +snakemake ((?:.*\\\n)*.*)$", header, re.MULTILINE)[1]
    words = [word.replace("workflow/profiles", str(PROFILES)) for word in shlex.split(command.replace("\\\n", ""))]
    asked = asked_for(snakemake("--dry-run", *words, overrides=ONE_SHARD))
    assert asked["parse_annotations"]["slurm_account"] == asked["train"]["slurm_partition"] == "NAME"
    assert (asked["make_table"]["mem_mb"], asked["make_table"]["runtime"]) == ("2000", "60")


def test_a_job_goes_through_the_scripts_of_the_generic_profile(snakemake, workdir, charades_annotations):
    target = "work/charades/annotations/moments.csv"
    run = snakemake("--workflow-profile", PROFILES / "generic", "--seconds-between-status-checks", "1", "--", target)
    assert (workdir / target).exists()
    assert "with external jobid 'logs/cluster/snakejob.parse_annotations." in run.stderr
    ended = list((workdir / "logs" / "cluster").glob("*.exit"))
    assert [path.read_text() for path in ended] == ["0\n"]


def script(workdir, text):
    path = workdir / "snakejob.rule.1.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    call = [PROFILES / "generic" / "submit.sh", path]
    return subprocess.run(call, cwd=workdir, capture_output=True, text=True, check=True).stdout.strip()


def asked(workdir, what, job):
    call = [PROFILES / "generic" / f"{what}.sh", job]
    return subprocess.run(call, cwd=workdir, capture_output=True, text=True, check=True).stdout.strip()


def eventually(workdir, job):
    deadline = time.monotonic() + 20
    while (status := asked(workdir, "status", job)) == "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    return status


def test_a_job_of_the_generic_profile_that_fails_or_is_killed_or_cancelled_is_seen(workdir):
    assert eventually(workdir, script(workdir, "exit 0")) == "success"
    assert eventually(workdir, script(workdir, "exit 3")) == "failed"
    job = script(workdir, "sleep 60 & wait")
    assert asked(workdir, "status", job) == "running"
    asked(workdir, "cancel", job)
    assert eventually(workdir, job) == "failed"
    job = script(workdir, "sleep 60")
    os.killpg(int((workdir / f"{job}.pid").read_text()), signal.SIGKILL)
    assert eventually(workdir, job) == "failed"


def test_a_job_goes_through_kubernetes(snakemake, workdir, charades_annotations, kubectl):
    target = "work/charades/annotations/moments.csv"
    profile = ("--workflow-profile", PROFILES / "kubernetes", "--seconds-between-status-checks", "1")
    snakemake(*profile, "--set-resources", "parse_annotations:gpu=1", "--", target)
    assert (workdir / target).exists()
    (path,) = kubectl.glob("*.json")
    job = json.loads(path.read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    amounts = {"cpu": "1", "memory": "2000M", "nvidia.com/gpu": "1"}
    assert container["resources"] == {"requests": amounts, "limits": amounts}
    assert job["spec"]["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"  # started once
    assert pod["activeDeadlineSeconds"] == 3600 and "activeDeadlineSeconds" not in job["spec"]
    assert container["workingDir"] == str(workdir) and container["image"] == "vmr:latest"
    assert container["volumeMounts"] == [{"name": "project", "mountPath": "/vmr"}]
    assert pod["volumes"] == [{"name": "project", "persistentVolumeClaim": {"claimName": "vmr"}}]
    assert re.fullmatch(r"[a-z0-9-]{1,63}", job["metadata"]["name"])


def test_what_kubernetes_says_of_a_job(kubectl, monkeypatch):
    def status(name):
        call = [PROFILES / "kubernetes" / "status.py", f"default/{name}"]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()

    (kubectl / "a.json").touch()
    for said, expected in {"": "running", "1 of 1 steps (100%) done": "success", "Exiting because": "failed"}.items():
        (kubectl / "a.log").write_text(said)
        assert status("a") == expected
    assert status("removed") == "failed"
    monkeypatch.setenv("FAKE_KUBECTL_DOWN", "1")
    assert status("a") == "running"
