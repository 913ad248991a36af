"""A working folder with the shipped configuration, and Snakemake run in it as a user would."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


# Sourced by the shell of every job: a `python` that does nothing but make the files that the job is to write.
STAGES = """
python() {
    while [ $# -gt 0 ]; do
        case $1 in
            --output-dir) mkdir -p "$2"; touch "$2"/checkpoint.safetensors "$2"/history.csv "$2"/run.json ;;
            --output|--listing) [ -e "$2" ] || touch "$2" ;;
            --benchmarks) shift ;;  # patterns, and files that need not be there
            work/*|results/*) [ -e "$1" ] || touch "$1" ;;
        esac
        shift
    done
}
"""


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file for `BASH_ENV` with which jobs take no time."""
    path = tmp_path_factory.mktemp("stages") / "stages.sh"
    path.write_text(STAGES)
    return path


@pytest.fixture
def pretending(stages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that Snakemake starts write empty files."""
    monkeypatch.setenv("BASH_ENV", str(stages))


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """An empty folder to run the workflow in: nothing is written into the checkout."""
    return tmp_path


@pytest.fixture
def snakemake(workdir: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run Snakemake on this checkout's Snakefile in `workdir`; `overrides` are merged into config.yaml.

    Jobs are told in Snakemake's words, or `plain`, as a user sees them.
    """

    def run(
        *arguments: str, overrides: dict | None = None, check: bool = True, plain: bool = False
    ) -> subprocess.CompletedProcess:
        extra = workdir / "overrides.yaml"
        extra.write_text(yaml.safe_dump(overrides or {}))
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", workdir),
            *("--configfile", ROOT / "config.yaml", extra, "--nocolor"),
            # Profiles of clusters have `jobs` instead.
            *(() if "--workflow-profile" in arguments else ("--cores", "2")),
            *arguments,
        ]
        # Without a card, whatever this machine has: what is planned must not depend on it.
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "VMR_SNAKEMAKE_WORDS": "" if plain else "1"}
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
        if check and result.returncode:
            pytest.fail(f"snakemake {' '.join(arguments)} failed:\n{result.stdout}\n{result.stderr}")
        return result

    return run


@pytest.fixture
def planned(snakemake: Callable[..., subprocess.CompletedProcess]) -> Callable[..., dict[str, int]]:
    """The number of jobs of each rule that a dry run plans."""

    def jobs(*targets: str, overrides: dict | None = None) -> dict[str, int]:
        output = snakemake("--dry-run", "--quiet", "rules", "--", *targets, overrides=overrides)
        text = output.stdout + output.stderr
        counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}
        counts.pop("total", None)
        return counts

    return jobs


@pytest.fixture
def charades_annotations(workdir: Path) -> None:
    """Annotation files in the place where `charades` expects them: two training videos and one for testing."""
    folder = workdir / "data" / "charades"
    (folder / "videos").mkdir(parents=True)
    (folder / "charades_sta_train.txt").write_text("AAAAA 0.0 2.0##a person sits down.\nBBBBB 1.0 3.0##a dog runs.\n")
    (folder / "charades_sta_test.txt").write_text("CCCCC 0.5 2.5##a person opens a door.\n")
    (folder / "Charades_v1_train.csv").write_text("id,length\nAAAAA,4.0\nBBBBB,4.0\n")
    (folder / "Charades_v1_test.csv").write_text("id,length\nCCCCC,4.0\n")
