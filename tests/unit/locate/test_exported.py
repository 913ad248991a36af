"""What stands where a file or a folder was expected is named, with what to do."""

from pathlib import Path

import pytest

from vmr.errors import CheckpointError
from vmr.locate.export import export_run
from vmr.locate.model_file import read_model


def test_a_folder_given_as_model_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a folder\. Make a model of a trained run with `vmr export`"):
        read_model(tmp_path)


def test_an_export_of_a_file_or_to_a_folder_says_what_to_name(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.touch()
    with pytest.raises(CheckpointError, match=f"is a file. Name the folder of the run, such as {tmp_path}"):
        export_run(run=checkpoint, output=tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"is a folder. Name the file to write, such as .*model.safetensors"):
        export_run(run=tmp_path, output=tmp_path)
