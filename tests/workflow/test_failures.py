"""What a run says at its end about jobs that failed."""

import re
import shlex
import subprocess
import sys

import pytest


@pytest.fixture
def mine(workdir):
    """A dataset of the sentences in `train.txt`."""
    (workdir / "lengths.csv").write_text("id,length\nV1,4.0\n")
    return {
        "title": "Mine",
        "annotation_format": "charades_sta",
        "annotations": {"train": ["train.txt"], "test": ["train.txt"]},
        "durations": ["lengths.csv"],
        "videos": "videos",
        "test_splits": {"test": ["test"]},
    }


def test_a_failed_job_is_named_at_the_end_with_its_log_and_its_command(snakemake, workdir, mine):
    (workdir / "train.txt").write_text("V1 1.0 2.0 a person sits.\n")
    target = "work/mine/annotations/moments.csv"
    run = snakemake("--", target, overrides={"datasets": {"mine": mine}}, check=False)
    assert run.returncode == 1
    end = run.stderr[run.stderr.index("1 job failed.") :]
    assert f"parse_annotations: no {target}" in end
    assert "    error: train.txt: not one line has the Charades-STA format" in end
    assert "Traceback" not in run.stderr
    # The command is the one that was given, so that it works as it is once the cause is mended.
    (command,) = re.findall(r"this job alone: snakemake (.*)\n", end)
    assert command.endswith(f" -- {target}") and f"--directory {workdir}" in command
    (workdir / "train.txt").write_text("V1 1.0 2.0##a person sits.\n")
    again = subprocess.run([sys.executable, "-m", "snakemake", *shlex.split(command)], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (workdir / target).exists()


def test_the_same_command_goes_on_after_a_failure_though_there_is_an_older_result(snakemake, workdir, mine):
    (workdir / "train.txt").write_text("V1 1.0 2.0##a person sits.\n")
    (workdir / "vectors.txt").write_text("a 1 0\nperson 0 1\n")
    target = workdir / "work/mine/queries/queries.h5"

    def run(**options):
        overrides = {"datasets": {"mine": mine}, "queries": {"vectors": "vectors.txt"}}
        return snakemake("--", "work/mine/queries/queries.h5", overrides=overrides, **options)

    run()
    mine["annotation_format"] = "activitynet_captions"
    for _ in range(2):  # the second time there is a result of before, and nothing between
        assert run(check=False).returncode == 1
        assert target.exists() and not (workdir / "work/mine/annotations/moments.csv").exists()
    mine["annotation_format"] = "charades_sta"
    run()
    assert (workdir / "work/mine/annotations/moments.csv").exists()
    assert "Nothing to be done" in run().stderr
