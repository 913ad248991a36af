"""Jobs in the image of the Dockerfile, `--sdm apptainer`, with a stand-in for Apptainer."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Notes how it was called, and runs the command as if it were inside.
APPTAINER = """#!/bin/bash
[ "$1" = --version ] && { echo "apptainer version 1.3.4"; exit; }
printf '%s\\n' "$@" >> "$APPTAINER_CALLS"
while [ "$1" != bash ]; do shift; done
PATH=/image:/usr/bin:/bin exec "$@"
"""


def test_jobs_run_with_the_images_python_and_the_checkouts_code(
    snakemake, workdir, charades_annotations, pretending, monkeypatch
):
    (workdir / "bin").mkdir()
    (workdir / "bin/apptainer").write_text(APPTAINER)
    (workdir / "bin/apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{workdir}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("APPTAINER_CALLS", str(workdir / "calls"))
    target = "work/charades/annotations/moments.csv"
    snakemake("--sdm", "apptainer", "--", target)
    assert (workdir / target).exists()
    calls = (workdir / "calls").read_text()
    assert f"\n{ROOT}/vmr.sif\nbash\n-c\n" in calls
    assert f"export PATH=$PATH PYTHONPATH={ROOT}" in calls and "python -m vmr parse-annotations" in calls
    assert str(Path(sys.executable).parent) not in calls.partition("-c\n")[2]
