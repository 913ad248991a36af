"""Shards of bad and good videos, and the stages run on them as a user or a workflow would."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from faults import corpus
from safetensors.torch import save_file
from typer.testing import CliRunner, Result
from written import write_first_seconds

from vmr.cli import app
from vmr.features.i3d import InceptionI3d
from vmr.video.manifest import MANIFEST_COLUMNS, write_manifest
from vmr.video.probe import probe_video
from vmr.video.processes import child_environment

collect_ignore = ["faulty_decord"]  # not to be imported here in place of the real one


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """I3D with random weights: the real network, without the download."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "i3d.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in InceptionI3d().state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def vmr() -> Callable[..., Result]:
    """The command line, in this process."""

    def run(command: str, *arguments: object) -> Result:
        return CliRunner().invoke(app, [command, *map(str, arguments)])

    return run


@pytest.fixture(scope="session")
def annotate() -> Callable[[Path], Path]:
    """Write annotations that name every video of a folder."""

    def write(videos: Path) -> Path:
        path = videos.with_name("moments.csv")
        write_first_seconds(path, test=dict.fromkeys(sorted({path.stem for path in videos.iterdir()}), float("nan")))
        return path

    return write


class Stages:
    """Runs the two stages of a shard in a process that can be killed; see tests/faults/stage_runner.py."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def run(
        self,
        stage: str,
        folder: Path,
        *,
        manifest: Path | None = None,
        kill_after_sec: float | None = None,
        kill_when: Callable[[], bool] | None = None,
        limit_bytes: int = 0,
        obey: bool = False,
        environment: dict[str, str] | None = None,
        **options: object,
    ) -> int:
        """Exit code of a stage that reads and writes in `folder`; -9 when it was killed in time.

        Beside the folder lie the videos that were begun, `{folder}.{stage}.log`, and what was said, `.err`.
        """
        files = {
            "probe": {"output": "videos.csv"},
            "decode": {"output": "frames.h5", "decoded_manifest": "frames.csv"},
            "extract": {"output": "features.h5", "statuses": "features.csv"},
        }[stage]
        fixed = {
            "probe": {"shard": 0, "shards": 1, "probe_timeout_sec": 60},
            "decode": {"manifest": manifest, "short_side": 64, "decode_timeout_sec": 20, "max_failed_share": 0.0},
            "extract": {
                "manifest": folder / "frames.csv",
                "frames": folder / "frames.h5",
                "extractor": "i3d",
                "weights": "./none",
                "window": 8,
                "stride": 4,
                "max_failed_share": 0.0,
                "code_digest": "",
            },
        }[stage]
        paths = {name: folder / file for name, file in files.items()}
        request = {
            "stage": stage,
            "log": f"{folder}.{stage}.log",
            "stderr": f"{folder}.{stage}.err",
            "limit_bytes": limit_bytes,
            "obey": obey,
            "environment": environment or {},
            "options": {
                name: str(value) if isinstance(value, Path) else value
                for name, value in (fixed | paths | options).items()
            },
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        if kill_when is not None:
            while not kill_when():
                time.sleep(0.001)
        elif kill_after_sec is not None:
            time.sleep(kill_after_sec)
        if kill_when is not None or kill_after_sec is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return int(self._process.stdout.readline())


@pytest.fixture(scope="session")
def stages() -> Iterator[Stages]:
    """Runs stages in a process of its own."""
    command = [sys.executable, Path(__file__).with_name("stage_runner.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment()
    ) as process:
        yield Stages(process)
        process.stdin.close()


@pytest.fixture(scope="session")
def clip_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of six short clips that differ."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for number in range(6):
        options = [*corpus.FAST, "-vf", f"hue=h={40 * number}", "-bf", number % 3]
        path = corpus.clips.render(folder / f"clip {number}.mp4", *options, frames=10 + number)
        rows.append({"video_id": path.stem, **probe_video(path, timeout_sec=20)})
    write_manifest(rows, folder / "videos.csv", columns=MANIFEST_COLUMNS)
    return folder / "videos.csv"


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, stages: Stages, clip_manifest: Path) -> Path:
    """Folder in which both stages ran to their end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for stage in ("decode", "extract"):
        assert stages.run(stage, folder, manifest=clip_manifest) == 0, Path(f"{folder}.{stage}.err").read_text()
    return folder
