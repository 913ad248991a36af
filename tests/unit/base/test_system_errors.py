import errno
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vmr.cli import app

HEADER = "query_id,video_id,split,start_sec,end_sec,duration_sec,sentence\n"


@pytest.fixture
def baselines(tmp_path: Path):
    """The command `vmr baselines` on a table of two moments; it writes to the paths that are given."""
    (tmp_path / "moments.csv").write_text(HEADER + "a,v,train,0,1,2,one\nb,w,test,0,1,2,two\n")

    def run(output: Path):
        command = ["baselines", "--moments", tmp_path / "moments.csv", "--splits", "test", "--split-name", "test"]
        command += ["--output", output, "--video-scores", tmp_path / "scores.csv"]
        return CliRunner().invoke(app, list(map(str, command)))

    return run


def test_what_the_system_refuses_is_one_line(baselines, tmp_path: Path) -> None:
    assert baselines(tmp_path / "fine.json").exit_code == 0
    (tmp_path / "file").touch()
    found = baselines(tmp_path / "file" / "scores.json")
    assert found.exit_code == 1 and "Traceback" not in found.output
    assert f"error: {tmp_path}/file: {os.strerror(errno.EEXIST)}. Look at the path" in found.output


def test_errors_without_a_number_are_bugs_and_keep_their_traceback(baselines, tmp_path: Path, monkeypatch) -> None:
    def broken(*args, **kwargs):
        raise OSError("unable to open object")

    monkeypatch.setattr("vmr.evaluation.baselines.read_moments", broken)
    found = baselines(tmp_path / "scores.json")
    assert isinstance(found.exception, OSError) and "error:" not in found.output
