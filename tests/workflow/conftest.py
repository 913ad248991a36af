"""A working folder with the shipped configuration, and Snakemake run in it as a user would."""

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
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


# Half of the time of a dry run goes into the imports of Snakemake: here each is a fork of a process that has made them.
# Of our package nothing is imported before, since some tests plan with edited copies of it.
SERVER = """
import json, os, sys
import snakemake.cli, snakemake.api

for line in sys.stdin:
    call = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    for number, name in enumerate([os.devnull, *call["files"]]):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.argv[1:] = call["arguments"]
    sys.exit(snakemake.cli.main())
"""


@functools.cache
def server() -> subprocess.Popen:
    """It ends with the process of the tests, which has the other end of its pipe."""
    command = [sys.executable, "-c", SERVER]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_snakemake(
    *arguments: object, checkout: Path = ROOT, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess:
    """What `python -m snakemake` of a checkout gives in a folder, by default the one of the tests.

    Args:
        environment: variables beside those of the tests. There is no card, whatever this machine has: what is planned
            must not depend on it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        printed = [Path(scratch, name) for name in ("stdout", "stderr")]
        call = {
            "arguments": list(map(str, ("--snakefile", checkout / "Snakefile", "--nocolor", *arguments))),
            "environment": os.environ | {"CUDA_VISIBLE_DEVICES": ""} | environment,
            "folder": str(folder or Path.cwd()),
            "files": list(map(str, printed)),
        }
        process = server()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(call) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        return subprocess.CompletedProcess(call["arguments"], code, *(file.read_text() for file in printed))


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
        result = run_snakemake(
            *("--directory", workdir, "--configfile", ROOT / "config.yaml", extra),
            # Profiles of clusters have `jobs` instead.
            *(() if "--workflow-profile" in arguments else ("--cores", "2")),
            *arguments,
            VMR_SNAKEMAKE_WORDS="" if plain else "1",
        )
        if check and result.returncode:
            pytest.fail(f"snakemake {' '.join(map(str, arguments))} failed:\n{result.stdout}\n{result.stderr}")
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
