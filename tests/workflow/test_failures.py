"""What a run says at its end about jobs that failed."""

import re
import shlex
import subprocess
import sys


def test_a_failed_job_is_named_at_the_end_with_its_log_and_its_command(snakemake, workdir):
    (workdir / "train.txt").write_text("V1 1.0 2.0 a person sits.\n")
    (workdir / "lengths.csv").write_text("id,length\nV1,4.0\n")
    mine = {
        "title": "Mine",
        "annotation_format": "charades_sta",
        "annotations": {"train": ["train.txt"], "test": ["train.txt"]},
        "durations": ["lengths.csv"],
        "videos": "videos",
        "test_splits": {"test": ["test"]},
    }
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
