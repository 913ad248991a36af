"""A small exported model, with the dataset that it was trained on."""

from pathlib import Path

import clips
import numpy as np
import pytest
from synthetic import SyntheticData, train_run, write_synthetic

from vmr.locate.answers import Answer, Curve, Moment
from vmr.locate.export import export_run


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SyntheticData, Path]:
    """A small dataset; and a folder with a run trained on it for an epoch, the model exported from that, and a file
    for one of the videos."""
    folder = tmp_path_factory.mktemp("locate")
    data = write_synthetic(folder, train_videos=6, test_videos=2)
    sizes = {"hidden": 16, "query_hidden": 8, "heads": 2, "max_steps": 16, "epochs": 1, "batch_size": 8}
    train_run(**data.inputs(), output_dir=folder / "run", device="cpu", **sizes)
    export_run(run=folder / "run", output=folder / "model.safetensors", vectors=data.vectors)
    clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=12:duration=10", folder / "test006.mp4")
    return data, folder


@pytest.fixture
def answers():
    """Makes an answer of a video with moments of such scores."""

    def make(video: str, *scores: float, confidence: float | None = None) -> Answer:
        moments = [Moment(float(number), number + 1.0, score) for number, score in enumerate(scores)]
        curve = Curve(np.zeros(1), np.ones(1), {})
        refused = "" if scores else f"not in {video}"
        return Answer(video, "q", 9.0, moments, curve, refused=refused, confidence=confidence)

    return make
