"""Training on a card: steps that are recorded and replayed, the same metrics each time, and going on after a kill."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from networks import ONE_OF_EACH
from synthetic import train_run

from vmr.training import loop, step

SMALL = {"hidden": 16, "query_hidden": 8, "heads": 2, "epochs": 4, "patience": 4, "batch_size": 8, "device": "cuda"}
METRICS = ["loss", "validation_loss", "R@1,IoU=0.5", "R@1,IoU=0.7", "mIoU"]

pytestmark = pytest.mark.gpu


def history(data, folder: Path, **changed) -> pd.DataFrame:
    """Train, and what the run wrote of its epochs."""
    train_run(**data.inputs(), output_dir=folder, **(SMALL | changed))
    return pd.read_csv(folder / "history.csv")[METRICS]


@pytest.mark.parametrize("method", ONE_OF_EACH)
def test_recorded_steps_train_as_others_do(data, tmp_path, monkeypatch, method):
    replays = []
    replay = step._Recording.replay
    monkeypatch.setattr(step._Recording, "replay", lambda *own: replays.append(1) or replay(*own))
    recorded = history(data, tmp_path / "recorded", method=method, precision="float32")
    assert replays
    monkeypatch.setattr(step.TrainingStep, "__call__", lambda self, *own: self._step(*own))
    plain = history(data, tmp_path / "plain", method=method, precision="float32")
    pd.testing.assert_frame_equal(recorded, plain, rtol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_metrics(data, tmp_path, precision):
    first, second = (history(data, tmp_path / name, precision=precision) for name in ("a", "b"))
    pd.testing.assert_frame_equal(first, second, rtol=0, atol=1e-3)


def test_killed_and_started_again_it_ends_in_the_same_metrics(data, tmp_path, monkeypatch):
    undisturbed = history(data, tmp_path / "undisturbed")
    save = loop._save

    def dies(model, optimizer, progress, *others):
        save(model, optimizer, progress, *others)
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_save", dies)
        history(data, tmp_path / "killed")
    pd.testing.assert_frame_equal(history(data, tmp_path / "killed"), undisturbed, rtol=0, atol=1e-3)


def test_features_that_do_not_fit_stay_in_a_file(data, tmp_path, monkeypatch):
    held = history(data, tmp_path / "held", precision="float32")
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device=None: (0, 2**40))
    beside = history(data, tmp_path / "beside", precision="float32")
    pd.testing.assert_frame_equal(held, beside, rtol=1e-5)


def test_training_leaves_the_random_numbers_of_other_cards_alone(data, tmp_path):
    before = torch.cuda.get_rng_state()
    history(data, tmp_path / "run", epochs=1)
    assert torch.equal(torch.cuda.get_rng_state(), before)
