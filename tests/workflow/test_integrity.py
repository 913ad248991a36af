"""Several users at once, killed runs, and files that were damaged: what Snakemake and `vmr verify` make of them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import h5py
import pytest
from typer.testing import CliRunner
from workflow.conftest import ROOT

from vmr.cli import app
from vmr.storage.checksums import seal_file

MOMENTS = "work/charades/annotations/moments.csv"
# Sourced by the shell of every job: stages wait until they may begin.
WAITING = """
python() {
    echo begun >> begun
    while [ ! -e go ]; do sleep 0.05; done
    command python "$@"
}
"""


@pytest.fixture
def first(workdir, charades_annotations):
    """Another user's Snakemake, in the middle of its only job; ended after the test."""
    (workdir / "overrides.yaml").write_text("{}\n")
    (workdir / "waiting.sh").write_text(WAITING)
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", workdir]
    command += ["--configfile", ROOT / "config.yaml", workdir / "overrides.yaml", "--cores", "1", "--", MOMENTS]
    run = subprocess.Popen(
        list(map(str, command)),
        env=os.environ | {"BASH_ENV": str(workdir / "waiting.sh")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (workdir / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (workdir / "begun").exists()
    yield run
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def test_a_second_user_gets_the_lock_and_the_first_ones_file_is_whole(snakemake, workdir, first):
    second = snakemake("--", MOMENTS, check=False)
    assert second.returncode == 1
    assert re.search(r"[Dd]irectory cannot be locked", second.stderr), second.stderr
    assert not (workdir / MOMENTS).exists()
    (workdir / "go").touch()
    assert first.wait(timeout=60) == 0
    assert (workdir / MOMENTS).read_text().count("\n") == 4  # a header and three sentences
    assert (workdir / "begun").read_text() == "begun\n", "the stage was started twice"
    assert "Nothing to be done" in snakemake("--", MOMENTS).stderr


def test_after_a_kill_the_same_command_goes_on(snakemake, workdir, first):
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    (workdir / "go").touch()
    again = snakemake("--", MOMENTS)
    assert "nothing of it is left: its lock was taken away" in again.stderr
    assert (workdir / MOMENTS).read_text().count("\n") == 4
    assert not list(workdir.glob(".snakemake/*/*.lock")) and not list(workdir.glob(".snakemake/owners/*"))


def test_a_lock_stays_while_jobs_of_the_killed_run_go_on(snakemake, workdir, first):
    first.kill()
    first.wait()
    refused = snakemake("--", MOMENTS, check=False)
    assert refused.returncode == 1 and re.search(r"[Dd]irectory cannot be locked", refused.stderr), refused.stderr
    for pid in re.search(r"its jobs go on\. Wait until they end, or end them: kill ([\d ]+)", refused.stderr)[
        1
    ].split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
    (workdir / "go").touch()
    snakemake("--", MOMENTS)
    assert (workdir / MOMENTS).read_text().count("\n") == 4


FEATURES = "work/charades/features/i3d.h5"


@pytest.fixture
def extracted(snakemake, planned, workdir, charades_annotations, pretending, monkeypatch):
    """Features of two shards, up to date; what Snakemake plans for a target."""
    (workdir / "i3d.safetensors").touch()
    overrides = {"datasets": {"charades": {"shards": 2}}, "features": {"i3d": {"weights": "./i3d.safetensors"}}}
    monkeypatch.chdir(workdir)
    snakemake("--", FEATURES, overrides=overrides)
    folder = workdir / "work/charades"
    for path in [*folder.glob("frames/*.h5"), *folder.glob("features/i3d/*.h5"), workdir / FEATURES]:
        with h5py.File(path, "w") as file:
            if path == workdir / FEATURES:
                file["features/a"] = h5py.ExternalLink("i3d/shard_1.h5", "features/a")
            else:
                file["features/a"] = list(range(100))
            seal_file(file)
    snakemake("--touch", "--", FEATURES, overrides=overrides)
    return lambda *targets: planned(*targets, overrides=overrides)


def altered(path):
    """Change a byte, and leave the file's time as it was: Snakemake sees nothing."""
    times = path.stat()
    raw = bytearray(path.read_bytes())
    raw[raw.index(bytes([99, 0, 0, 0, 0]))] = 98
    path.write_bytes(raw)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_an_altered_shard_is_found_and_it_alone_is_made_again(extracted, workdir):
    assert extracted(FEATURES) == {}
    altered(workdir / "work/charades/features/i3d/shard_1.h5")
    assert extracted(FEATURES) == {}
    found = CliRunner().invoke(app, ["verify", "charades"])
    assert found.exit_code == 1 and "i3d/shard_1.h5: not as written: features/a" in found.output
    assert CliRunner().invoke(app, ["verify", "charades", "--delete"]).exit_code == 0
    assert extracted(FEATURES) == {"extract": 1, "merge_features": 1}


def test_altered_frames_are_decoded_again_when_something_needs_them(extracted, workdir):
    altered(workdir / "work/charades/frames/shard_0.h5")
    assert CliRunner().invoke(app, ["verify", "charades", "--delete"]).exit_code == 0
    assert extracted(FEATURES) == {}  # the features were made before, and are checked by themselves
    assert extracted("work/charades/frames/shard_0.h5") == {"decode_frames": 1}
