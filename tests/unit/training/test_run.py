"""Training runs: what they write, that they repeat and resume, what they do when data are missing, that they learn."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from synthetic import write_synthetic

import vmr.training.loop as loop
from vmr.annotations.moments import read_moments, write_moments
from vmr.data.spans import temporal_iou
from vmr.errors import ConfigError, TrainingError
from vmr.model.ci_mha import CiMha
from vmr.training.predict import predict_run
from vmr.training.run import train_run

SMALL = {
    "hidden": 8,
    "query_hidden": 4,
    "heads": 2,
    "batch_size": 16,
    "epochs": 3,
    "learning_rate": 1e-3,
    "device": "cpu",
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "checkpoint.safetensors")


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def assert_same_weights(first: Path, second: Path) -> None:
    theirs = weights(second)
    for name, tensor in weights(first).items():
        assert torch.equal(tensor, theirs[name]), name


def test_what_a_run_writes(data, tmp_path: Path) -> None:
    train_run(**data.inputs(), output_dir=tmp_path, seed=3, **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.safetensors", "history.csv", "run.json", "tensorboard",
    ]  # fmt: skip
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert {"loss", "boundary_loss", "segmentation_loss", "validation_loss", "R@1,IoU=0.5", "R@1,IoU=0.7", "mIoU",
            "learning_rate", "seconds"} <= set(history)  # fmt: skip
    run = record(tmp_path)
    assert run["trained"] is True
    assert run["chosen_epoch"] == int(history["epoch"][history["mIoU"].argmax()])
    assert "validation" in run["reason"]
    assert run["counts"]["training_videos"] == 7
    assert run["counts"]["selection_videos"] == 1
    assert run["coverage"] == {"queries": 48, "covered_queries": 48, "videos": 8, "covered_videos": 8}
    assert run["seed"] == 3
    assert run["feature_kind"]["extractor"] == "synthetic"
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_card_is_claimed(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("vmr.training.run.claim_device", lambda name: asked.append(name) or torch.device("cpu"))
    train_run(**data.inputs(), output_dir=tmp_path, **(SMALL | {"epochs": 1, "device": "auto"}))
    assert asked == ["auto"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_bits(data, tmp_path: Path, precision: str) -> None:
    before = torch.random.get_rng_state()
    for name in ("a", "b"):
        torch.rand(7)  # What happened in the process before must not matter.
        train_run(**data.inputs(), output_dir=tmp_path / name, seed=1, precision=precision, **SMALL)
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    columns = ["loss", "mIoU", "validation_loss"]
    first, second = (pd.read_csv(tmp_path / name / "history.csv")[columns] for name in ("a", "b"))
    assert first.equals(second)
    train_run(**data.inputs(), output_dir=tmp_path / "c", seed=2, precision=precision, **SMALL)
    assert not torch.equal(
        weights(tmp_path / "a")["positions.embedding"], weights(tmp_path / "c")["positions.embedding"]
    )
    torch.random.set_rng_state(before)


@pytest.mark.parametrize("killed_in", ["training", "between best weights and state"])
@pytest.mark.parametrize("epoch", [2, 4])
def test_a_killed_run_ends_in_the_same_weights(
    data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: str, epoch: int
) -> None:
    settings = {**SMALL, "epochs": 5}
    train_run(**data.inputs(), output_dir=tmp_path / "whole", **settings)
    name = "_train_epoch" if killed_in == "training" else "_save"
    original, calls = getattr(loop, name), []

    def killed(*args, **kwargs):
        calls.append(1)
        if len(calls) == epoch:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(loop, name, killed)
        with pytest.raises(KeyboardInterrupt):
            train_run(**data.inputs(), output_dir=tmp_path / "killed", **settings)
    assert (tmp_path / "killed" / "last.pt").exists()
    assert not (tmp_path / "killed" / "checkpoint.safetensors").exists()
    epochs = []
    with monkeypatch.context() as patched:
        patched.setattr(
            loop,
            "_train_epoch",
            lambda *args, **kwargs: (epochs.append(kwargs["epoch"]), train_epoch(*args, **kwargs))[1],
        )
        train_run(**data.inputs(), output_dir=tmp_path / "killed", **settings)
    assert epochs == list(range(epoch, 6))
    assert_same_weights(tmp_path / "whole", tmp_path / "killed")
    whole, resumed = (
        pd.read_csv(tmp_path / name / "history.csv").drop(columns="seconds") for name in ("whole", "killed")
    )
    assert whole.equals(resumed)
    assert record(tmp_path / "whole")["chosen_epoch"] == record(tmp_path / "killed")["chosen_epoch"]


train_epoch = loop._train_epoch


def test_every_epoch_draws_anew(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, original = [], torch.manual_seed
    monkeypatch.setattr(loop.torch, "manual_seed", lambda seed: (seeds.append(seed), original(seed))[1])
    train_run(**data.inputs(), output_dir=tmp_path, **SMALL)
    assert len(set(seeds)) == 1 + SMALL["epochs"]  # The first is of the initial weights.


def test_a_state_of_other_settings_is_not_used(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("vmr.training.run.clear_state", lambda folder: None)
        train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    train_run(**data.inputs(), output_dir=tmp_path / "run", **{**SMALL, "dropout": 0.4})
    train_run(**data.inputs(), output_dir=tmp_path / "fresh", **{**SMALL, "dropout": 0.4})
    assert_same_weights(tmp_path / "run", tmp_path / "fresh")


def test_patience_counts_epochs_without_any_gain(data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([(3.0, 33.0), (2.5, 33.0), (2.6, 34.0), (2.7, 33.0), (2.8, 33.0), (2.9, 90.0)])

    def scored(*args, **kwargs):
        loss, miou = next(scores)
        return {"validation_loss": loss, "R@1,IoU=0.5": 0.0, "R@1,IoU=0.7": 0.0, "mIoU": miou}

    monkeypatch.setattr(loop, "validation_scores", scored)
    train_run(**data.inputs(), output_dir=tmp_path, **{**SMALL, "epochs": 6, "patience": 2})
    assert record(tmp_path)["epochs_run"] == 5
    assert record(tmp_path)["chosen_epoch"] == 3


def test_a_loss_that_is_not_a_number_names_step_and_queries(
    data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = CiMha.losses

    def poisoned(self, prediction, targets):
        prediction.start.data[0, 0] = float("nan")
        return original(self, prediction, targets)

    monkeypatch.setattr(CiMha, "losses", poisoned)
    with pytest.raises(TrainingError, match=r"step 1 of epoch 1, .* train:\d+"):
        train_run(**data.inputs(), output_dir=tmp_path, **SMALL)


def test_test_videos_alone_give_an_untrained_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_synthetic(tmp_path, train_videos=4, test_videos=2, covered={"test004"})
    train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    run = record(tmp_path / "run")
    assert run["trained"] is False
    assert run["chosen_epoch"] == 0
    assert run["coverage"]["covered_videos"] == 0
    assert "no video of the 4 to train on has features" in run["reason"]
    assert "NOT TRAINED" in caplog.text
    predict_run(
        checkpoint=tmp_path / "run" / "checkpoint.safetensors", **data.inputs(), splits=["test"],
        output=tmp_path / "p.jsonl",
    )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert {line["video_id"] for line in lines} == {"test004"}
    assert len(lines) == 6


def test_one_training_video_leaves_no_validation(tmp_path: Path) -> None:
    data = write_synthetic(tmp_path, train_videos=4, test_videos=1, covered={"train002"})
    train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    run = record(tmp_path / "run")
    assert (run["trained"], run["chosen_epoch"], run["counts"]["selection_queries"]) == (True, 3, 0)
    assert "single training video" in run["reason"]


def test_two_training_videos_are_split(tmp_path: Path) -> None:
    data = write_synthetic(tmp_path, train_videos=9, test_videos=1, covered={"train002", "train003"})
    train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    assert record(tmp_path / "run")["counts"]["selection_videos"] == 1
    assert record(tmp_path / "run")["counts"]["training_videos"] == 1


def test_no_features_at_all_is_an_error(tmp_path: Path) -> None:
    data = write_synthetic(tmp_path, train_videos=2, test_videos=1, covered=set())
    with pytest.raises(TrainingError, match="no video has features"):
        train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    with pytest.raises(TrainingError, match="no queries in the split nonsense"):
        train_run(**data.inputs(), output_dir=tmp_path / "run", train_split="nonsense", **SMALL)


def test_selection_on_test_is_labelled_and_holds_nothing_out(data, tmp_path: Path) -> None:
    train_run(**data.inputs(), output_dir=tmp_path, selection="test", test_splits=["test"], **SMALL)
    run = record(tmp_path)
    assert run["selection"] == "test"
    assert "TEST" in run["reason"]
    assert run["counts"]["training_videos"] == 8
    assert run["counts"]["selection_videos"] == 3


def test_moments_outside_the_video_are_dropped_and_counted(tmp_path: Path) -> None:
    data = write_synthetic(tmp_path, train_videos=4, test_videos=1)
    table = read_moments(data.moments)
    table.loc[0, ["start_sec", "end_sec"]] = [100.0, 101.0]
    write_moments(table, data.moments)
    train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    assert record(tmp_path / "run")["counts"]["dropped_empty_moments"] == 1


@pytest.mark.parametrize(
    "wrong", [{"method": "magic"}, {"alignment": "up"}, {"selection": "luck"}, {"precision": "int8"}, {"device": "tpu"}]
)
def test_unknown_choices_are_refused(data, tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong.values()))):
        train_run(**data.inputs(), output_dir=tmp_path, **{**SMALL, **wrong})


@pytest.mark.slow
def test_ci_mha_learns_planted_moments(tmp_path: Path) -> None:
    data = write_synthetic(tmp_path, train_videos=40, test_videos=10)
    sizes = {"hidden": 64, "query_hidden": 32, "heads": 4, "batch_size": 32, "epochs": 40, "learning_rate": 1e-3}
    train_run(**data.inputs(), output_dir=tmp_path / "run", precision="float32", device="cpu", **sizes)
    predict_run(
        checkpoint=tmp_path / "run" / "checkpoint.safetensors", **data.inputs(), splits=["test"],
        output=tmp_path / "p.jsonl", device="cpu",
    )  # fmt: skip
    table = read_moments(data.moments).set_index("query_id")
    found = []
    for line in (tmp_path / "p.jsonl").read_text().splitlines():
        answer = json.loads(line)
        truth = table.loc[answer["query_id"], ["start_sec", "end_sec"]].to_numpy(dtype=float)
        found.append(temporal_iou(np.array(answer["spans"][0][:2]), truth))
    assert len(found) == 60
    # Three moments a video: naming any of them at random is right a third of the time.
    assert np.mean(np.array(found) >= 0.5) > 0.75
