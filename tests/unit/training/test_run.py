"""Training runs: what they write, that they repeat and resume, what they do when data are missing, that they learn."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from synthetic import answers_of, assert_same, killed_at, record, train_run, weights, write_synthetic
from typer.testing import CliRunner

import vmr.training.loop as loop
from vmr.annotations.moments import read_moments, validation_videos, write_moments
from vmr.cli import app
from vmr.data.collate import Collator
from vmr.errors import ConfigError, EvaluationError, ShardError, TrainingError
from vmr.features.store import FeatureStore
from vmr.methods.ci_mha import CiMha
from vmr.model.losses import Losses
from vmr.model.spans import temporal_iou

SMALL = synthetic.SMALL | {"epochs": 3}


def watched_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list to which each epoch that is trained from now on is added."""
    epochs, original = [], loop._train_epoch
    monkeypatch.setattr(
        loop, "_train_epoch", lambda *args, **kwargs: (epochs.append(kwargs["epoch"]), original(*args, **kwargs))[1]
    )
    return epochs


def test_what_a_run_writes(data, tmp_path):
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


def test_a_card_is_claimed(data, tmp_path, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr("vmr.training.run.claim_device", lambda name: asked.append(name) or torch.device("cpu"))
    train_run(**data.inputs(), output_dir=tmp_path, **(SMALL | {"epochs": 1, "device": "auto"}))
    assert asked == ["auto"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_bits(data, tmp_path, precision):
    before = torch.random.get_rng_state()
    for name in ("a", "b"):
        torch.rand(7)  # What happened in the process before must not matter.
        train_run(**data.inputs(), output_dir=tmp_path / name, seed=1, precision=precision, **SMALL)
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    columns = ["loss", "mIoU", "validation_loss"]
    first, second = (pd.read_csv(tmp_path / name / "history.csv")[columns] for name in ("a", "b"))
    assert first.equals(second)
    train_run(**data.inputs(), output_dir=tmp_path / "c", seed=2, precision=precision, **SMALL)
    assert not torch.equal(
        weights(tmp_path / "a")["positions.embedding"], weights(tmp_path / "c")["positions.embedding"]
    )
    torch.random.set_rng_state(before)


@pytest.mark.parametrize("killed_in", ["training", "saving"])
@pytest.mark.parametrize("epoch", [2, 4])
def test_a_killed_run_ends_in_the_same_weights(data, tmp_path, monkeypatch, killed_in, epoch):
    settings = {**SMALL, "epochs": 5}
    train_run(**data.inputs(), output_dir=tmp_path / "whole", **settings)
    name = "_train_epoch" if killed_in == "training" else "_save"
    killed_at(monkeypatch, name, epoch, lambda: train_run(**data.inputs(), output_dir=tmp_path / "killed", **settings))
    assert (tmp_path / "killed" / "last.pt").exists()
    assert not (tmp_path / "killed" / "checkpoint.safetensors").exists()
    epochs = watched_epochs(monkeypatch)
    train_run(**data.inputs(), output_dir=tmp_path / "killed", **settings)
    assert epochs == list(range(epoch, 6))
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    whole, resumed = (
        pd.read_csv(tmp_path / name / "history.csv").drop(columns="seconds") for name in ("whole", "killed")
    )
    assert whole.equals(resumed)
    assert record(tmp_path / "whole")["chosen_epoch"] == record(tmp_path / "killed")["chosen_epoch"]


def test_patience_counts_epochs_without_any_gain(data, tmp_path, monkeypatch):
    scores = iter([(3.0, 33.0), (2.5, 33.0), (2.6, 34.0), (2.7, 33.0), (2.8, 33.0), (2.9, 90.0)])

    def scored(*args, **kwargs):
        loss, miou = next(scores)
        return {"validation_loss": loss, "R@1,IoU=0.5": 0.0, "R@1,IoU=0.7": 0.0, "mIoU": miou}

    monkeypatch.setattr(loop, "validation_scores", scored)
    train_run(**data.inputs(), output_dir=tmp_path, **{**SMALL, "epochs": 6, "patience": 2})
    assert record(tmp_path)["epochs_run"] == 5
    assert record(tmp_path)["chosen_epoch"] == 3


def test_a_loss_that_is_not_a_number_names_step_and_queries(data, tmp_path, monkeypatch):
    original = CiMha.losses

    def poisoned(self, prediction, targets):
        prediction.start.data[0, 0] = float("nan")
        return original(self, prediction, targets)

    monkeypatch.setattr(CiMha, "losses", poisoned)
    with pytest.raises(TrainingError, match=r"step 1 of epoch 1, .* train:\d+"):
        train_run(**data.inputs(), output_dir=tmp_path, **SMALL)


def test_a_validation_loss_that_is_not_a_number_names_its_queries(data, tmp_path, monkeypatch):
    original = CiMha.losses

    def poisoned(self, prediction, targets):
        losses = original(self, prediction, targets)
        if self.training:
            return losses
        return Losses(total=losses.total, parts={name: part * torch.nan for name, part in losses.parts.items()})

    monkeypatch.setattr(CiMha, "losses", poisoned)
    table = read_moments(data.moments)
    train = table[table["split"] == "train"]
    held_out = train["query_id"][train["video_id"].isin(validation_videos(train["video_id"]))]
    with pytest.raises(
        TrainingError, match=r"after epoch 1 the validation loss is not a number, .* queries "
    ) as caught:
        train_run(**data.inputs(), output_dir=tmp_path, **SMALL)
    named = str(caught.value).partition("the queries ")[2].partition(". Look at")[0].split(", ")
    assert named and set(named) <= set(held_out)


@pytest.mark.parametrize("step", [1, 6, 0])  # 0: the last
def test_a_gradient_that_is_not_finite_stops_and_nothing_of_it_is_saved(data, tmp_path, monkeypatch, step):
    settings = {**SMALL, "batch_size": 4}
    train_run(**data.inputs(), output_dir=tmp_path / "whole", **settings)
    original, training_batches = CiMha.losses, loop.training_batches
    orders, steps = [], []

    def wanted() -> int:
        return step or len(orders[0])

    def poisoned(self, prediction, targets):
        losses = original(self, prediction, targets)
        steps.append(self.training)
        if self.training and sum(steps) == len(orders[0]) + wanted():
            # The derivative of the root of zero: a finite loss, a gradient that is not.
            return Losses(total=losses.total + (0 * self.positions.embedding.sum()).sqrt(), parts=losses.parts)
        return losses

    def watched(*args, **kwargs):
        orders.append(training_batches(*args, **kwargs))
        return orders[-1]

    with monkeypatch.context() as patched:
        patched.setattr(CiMha, "losses", poisoned)
        patched.setattr(loop, "training_batches", watched)
        with pytest.raises(TrainingError, match="gradient is not a number") as caught:
            train_run(**data.inputs(), output_dir=tmp_path / "run", **settings)
    assert f"gradient is not a number at step {wanted()} of epoch 2" in str(caught.value)
    table = read_moments(data.moments)
    held_out = validation_videos(table["video_id"][table["split"] == "train"])
    names = table["query_id"][(table["split"] == "train") & ~table["video_id"].isin(held_out)].tolist()
    assert f"queries {', '.join(names[row] for row in orders[1][wanted() - 1])}. " in str(caught.value)
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    best = saved["progress"]["best_weights"]
    assert best.keys() == saved["model"].keys()
    assert all(tensor.isfinite().all() for tensor in [*saved["model"].values(), *best.values()])
    train_run(**data.inputs(), output_dir=tmp_path / "run", **settings)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


def test_a_killed_run_of_other_settings_between_leaves_nothing_behind(data, tmp_path, monkeypatch):
    # The first epoch is the best of all: what is kept of it must be this run's.
    original, seen = loop.validation_scores, []

    def first_is_best(*args, **kwargs):
        seen.append(1)
        return original(*args, **kwargs) | {"mIoU": 90.0 if len(seen) in (1, 4, 7) else 10.0}

    monkeypatch.setattr(loop, "validation_scores", first_is_best)
    settings = {**SMALL, "epochs": 3, "learning_rate": 3e-2}
    train_run(**data.inputs(), output_dir=tmp_path / "whole", **settings)
    folder = tmp_path / "run"
    killed_at(monkeypatch, "_save", 3, lambda: train_run(**data.inputs(), output_dir=folder, **settings))
    other = {**settings, "learning_rate": 1e-4}
    killed_at(monkeypatch, "_save", 1, lambda: train_run(**data.inputs(), output_dir=folder, **other))
    train_run(**data.inputs(), output_dir=folder, **settings)
    assert record(folder)["chosen_epoch"] == 1
    assert_same(weights(tmp_path / "whole"), weights(folder))


@pytest.mark.parametrize("what", ["nothing", "settings", "durations", "threads"])
def test_a_state_of_another_run_is_not_gone_on_with(data, tmp_path, monkeypatch, what):
    def run(**changed) -> None:
        train_run(**data.inputs(), output_dir=tmp_path, **{**SMALL, **changed})

    killed_at(monkeypatch, "_save", 3, run)
    if what == "durations":  # Of the manifests, by which spans are clamped: a second of a video is left.
        monkeypatch.setattr(
            "vmr.video.manifest.video_durations", lambda table, _: dict.fromkeys(table["video_id"], 8.0)
        )
    if what == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    epochs = watched_epochs(monkeypatch)
    run(**({"dropout": 0.4} if what == "settings" else {}))
    assert epochs == ([3] if what == "nothing" else [1, 2, 3])


@pytest.mark.parametrize("damage", [b"", b"no archive", b"PK\x03\x04 cut", "list", "middle"])
def test_a_damaged_state_is_thrown_away(data, tmp_path, monkeypatch, caplog, damage):
    killed_at(monkeypatch, "_save", 3, lambda: train_run(**data.inputs(), output_dir=tmp_path, **SMALL))
    state = tmp_path / "last.pt"
    if damage == "list":
        torch.save([1, 2], state)
    elif damage == "middle":
        content = bytearray(state.read_bytes())
        content[20:400] = bytes(380)
        state.write_bytes(content)
    else:
        state.write_bytes(damage)
    epochs = watched_epochs(monkeypatch)
    train_run(**data.inputs(), output_dir=tmp_path, **SMALL)
    assert epochs == [1, 2, 3] and not state.exists()
    assert ("last.pt: cannot be read" in caplog.text) == (damage != "list")


@pytest.mark.parametrize("file", ["last.pt", "checkpoint.safetensors", "run.json", "history.csv"])
def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_where_it_was(data, tmp_path, monkeypatch, file):
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if target.name == file:
            raise OSError(28, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(
            ShardError, match=r"cannot be written \(No space left on device\).*what was finished is kept"
        ):
            train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    (tmp_path / "run" / "history.csv").unlink(missing_ok=True)  # As Snakemake does with the files of a job that failed.
    train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    train_run(**data.inputs(), output_dir=tmp_path / "whole", **SMALL)
    assert pd.read_csv(tmp_path / "run" / "history.csv")["epoch"].tolist() == [1, 2, 3]
    assert record(tmp_path / "run")["epochs_run"] == 3
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


def test_a_file_where_the_folder_should_be_is_named(data, tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ShardError, match="run: cannot be written"):
        train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)


@pytest.fixture
def held_out(data) -> set[str]:
    """The videos that `validation_fraction=0.4` holds out."""
    table = read_moments(data.moments)
    videos = validation_videos(table["video_id"][table["split"] == "train"], fraction=0.4)
    assert len(videos) == 4
    return videos


def test_the_checkpoint_has_the_weights_of_the_best_epoch(data, tmp_path, monkeypatch, held_out):
    original, losses = loop.validation_scores, []

    def second_is_best(*args, **kwargs):
        scores = original(*args, **kwargs)
        losses.append(scores["validation_loss"])
        return scores if len(losses) == 2 else scores | {"mIoU": -1.0}

    monkeypatch.setattr(loop, "validation_scores", second_is_best)
    settings = {**SMALL, "epochs": 4, "learning_rate": 3e-2}
    train_run(**data.inputs(), output_dir=tmp_path, validation_fraction=0.4, **settings)
    table = read_moments(data.moments).set_index("query_id")
    answers = answers_of(tmp_path, **data.inputs(), splits=["train"])
    lines = [line for line in answers if line["video_id"] in held_out]
    truth = table.loc[[line["query_id"] for line in lines], ["start_sec", "end_sec"]].to_numpy(dtype=float)
    iou = temporal_iou(np.array([line["spans"][0][:2] for line in lines]), truth)
    run = record(tmp_path)
    assert run["chosen_epoch"] == 2
    assert run["chosen_scores"]["validation_loss"] == losses[1]
    assert run["chosen_scores"]["mIoU"] == pytest.approx(100 * iou.mean())
    assert run["chosen_scores"]["R@1,IoU=0.5"] == pytest.approx(100 * (iou >= 0.5).mean())


def test_features_are_standardised_by_the_training_videos_alone(data, tmp_path, held_out):
    train_run(**data.inputs(), output_dir=tmp_path, validation_fraction=0.4, **{**SMALL, "epochs": 1})
    with FeatureStore(data.features) as store:
        steps = [store.get(name).features for name in store.video_ids if name[:5] == "train" and name not in held_out]
    assert np.allclose(weights(tmp_path)["video_encoder.mean"], np.concatenate(steps).mean(axis=0), atol=1e-5)


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 2e-3}, {"gradient_clip": 1e-3}, {"batch_size": 8}, {"dropout": 0.4}, {"lstm_dropout": 0.1},
        {"alignment": "cross"}, {"segmentation_weight": 2.0}, {"method": "mha"},
    ],
)  # fmt: skip
def test_settings_have_an_effect(data, tmp_path, changed):
    for name, more in (("plain", {}), ("changed", changed)):
        train_run(**data.inputs(), output_dir=tmp_path / name, **{**SMALL, "epochs": 1, **more})
    plain, other = weights(tmp_path / "plain"), weights(tmp_path / "changed")
    assert not torch.equal(plain["video_encoder.projection.weight"], other["video_encoder.projection.weight"])


def test_every_epoch_has_an_order_and_draws_of_its_own(data, tmp_path, monkeypatch):
    orders, seeds, original, seeding = [], [], loop.training_batches, torch.manual_seed

    def watched(*args, **kwargs):
        batches = original(*args, **kwargs)
        orders.append(tuple(np.concatenate(batches).tolist()))
        return batches

    monkeypatch.setattr(loop, "training_batches", watched)
    monkeypatch.setattr(loop.torch, "manual_seed", lambda seed: (seeds.append(seed), seeding(seed))[1])
    for seed in (0, 1):
        train_run(**data.inputs(), output_dir=tmp_path / str(seed), seed=seed, **SMALL)
    assert len(set(orders)) == 2 * SMALL["epochs"]
    assert len(set(seeds)) == 2 * (1 + SMALL["epochs"])  # The first is of the initial weights.


def test_the_fingerprint_tells_features_and_code(data, tmp_path, monkeypatch):
    def fingerprint(name: str, features: Path = data.features, queries: Path = data.queries) -> str:
        inputs = data.inputs(features=features, queries=queries)
        train_run(**inputs, output_dir=tmp_path / name, **{**SMALL, "epochs": 1})
        return record(tmp_path / name)["fingerprint"]

    shutil.copy(data.features, tmp_path / "same.h5")
    shutil.copy(data.features, tmp_path / "other.h5")
    with h5py.File(tmp_path / "other.h5", "r+") as file:
        file["features/train000"][0, 0] += 1
    plain = fingerprint("plain")
    assert fingerprint("same", tmp_path / "same.h5") == plain
    assert fingerprint("features", tmp_path / "other.h5") != plain
    shutil.copy(data.queries, tmp_path / "queries.h5")
    with (tmp_path / "queries.h5").open("ab") as file:
        file.write(b" ")
    assert fingerprint("queries", queries=tmp_path / "queries.h5") != plain
    monkeypatch.setattr("vmr.training.run.code_digest", lambda entries, **_: "changed")
    assert fingerprint("code") != plain


@pytest.mark.parametrize("method", ["ci_mha", "lgi"])
def test_an_answer_that_is_no_number_names_its_query(data, tmp_path, monkeypatch, method):
    train_run(**data.inputs(), output_dir=tmp_path, **{**SMALL, "epochs": 1, "method": method})
    original = Collator.__call__

    def poisoned(self, samples, *args, **kwargs):
        batch = original(self, samples, *args, **kwargs)
        batch.features.fill_(torch.nan)
        return batch

    monkeypatch.setattr(Collator, "__call__", poisoned)
    with pytest.raises(EvaluationError, match=r"its answer to test:\d+ \(video test\d+\) is no number"):
        answers_of(tmp_path, **data.inputs())
    assert not (tmp_path / "p.jsonl").exists()


def test_moments_past_the_ends_stop_a_run_or_are_its_reason(tmp_path, monkeypatch):
    data = write_synthetic(tmp_path, train_videos=4, test_videos=2)
    moments = pd.read_csv(data.moments)
    moments[["start_sec", "end_sec"]] += 1.0  # none begins with its video
    moments.to_csv(data.moments, index=False)
    monkeypatch.setattr("vmr.video.manifest.video_durations", lambda table, _: dict.fromkeys(table["video_id"], 0.01))
    said = r"training moments begin after their video ends \(such as .* s of 0\.01 s\)"
    with pytest.raises(TrainingError, match=said):
        train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    train_run(**data.inputs(), output_dir=tmp_path / "run", accept_wrong=True, **SMALL)
    run = record(tmp_path / "run")
    assert not run["trained"] and re.search(said, run["reason"])


def test_test_videos_alone_give_an_untrained_run(tmp_path, caplog):
    data = write_synthetic(tmp_path, train_videos=4, test_videos=2, covered={"test004"})
    train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    run = record(tmp_path / "run")
    assert run["trained"] is False
    assert run["chosen_epoch"] == 0
    assert run["coverage"]["covered_videos"] == 0
    assert "no video of the 4 to train on has features" in run["reason"]
    assert "NOT TRAINED" in caplog.text
    lines = answers_of(tmp_path / "run", **data.inputs())
    assert {line["video_id"] for line in lines} == {"test004"}
    assert len(lines) == 6


@pytest.mark.parametrize(("covered", "held_out"), [({"train002"}, 0), ({"train002", "train003"}, 1)])
def test_a_single_training_video_leaves_no_validation(tmp_path, covered, held_out):
    data = write_synthetic(tmp_path, train_videos=9, test_videos=1, covered=covered)
    train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    run = record(tmp_path / "run")
    assert (run["trained"], run["counts"]["training_videos"], run["counts"]["selection_videos"]) == (True, 1, held_out)
    assert ("single training video" in run["reason"]) == (not held_out)
    assert held_out or (run["chosen_epoch"], run["counts"]["selection_queries"]) == (3, 0)


def test_no_features_at_all_is_an_error(tmp_path):
    data = write_synthetic(tmp_path, train_videos=2, test_videos=1, covered=set())
    with pytest.raises(TrainingError, match="no video has features"):
        train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    with pytest.raises(TrainingError, match="no queries in the split nonsense"):
        train_run(**data.inputs(), output_dir=tmp_path / "run", train_split="nonsense", **SMALL)


def test_selection_on_test_is_labelled_and_holds_nothing_out(data, tmp_path):
    train_run(**data.inputs(), output_dir=tmp_path, selection="test", test_splits=["test"], **SMALL)
    run = record(tmp_path)
    assert run["selection"] == "test"
    assert "TEST" in run["reason"]
    assert run["counts"]["training_videos"] == 8
    assert run["counts"]["selection_videos"] == 3


@pytest.mark.parametrize("splits", [[], ["nonsense"]])
def test_selection_on_test_without_test_queries_is_refused(data, tmp_path, splits):
    with pytest.raises(TrainingError, match=f"{splits[0] if splits else 'none is named'}.*--test-splits"):
        train_run(**data.inputs(), output_dir=tmp_path, selection="test", test_splits=splits, **SMALL)


def test_moments_outside_the_video_are_dropped_and_counted(tmp_path):
    data = write_synthetic(tmp_path, train_videos=4, test_videos=1)
    table = read_moments(data.moments)
    table.loc[0, ["start_sec", "end_sec"]] = [100.0, 101.0]
    write_moments(table, data.moments)
    train_run(**data.inputs(), output_dir=tmp_path / "run", **SMALL)
    assert record(tmp_path / "run")["counts"]["dropped_empty_moments"] == 1


@pytest.mark.parametrize(
    "wrong", [{"method": "magic"}, {"alignment": "up"}, {"selection": "luck"}, {"precision": "int8"}, {"device": "tpu"}]
)
def test_unknown_choices_are_refused(data, tmp_path, wrong):
    with pytest.raises((ConfigError, ValueError), match=next(iter(wrong.values()))):
        train_run(**data.inputs(), output_dir=tmp_path, **{**SMALL, **wrong})


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("hidden", 7, r"hidden \(7\) must be divisible by model.heads \(8\)"),
        *(
            (option, value, option.replace("-", "_"))
            for option, value in [
                ("heads", 0), ("batch-size", 0), ("batch-size", -3), ("epochs", 0), ("patience", 0),
                ("validation-fraction", 1.5), ("dropout", 1.0), ("threads", 0), ("max-steps", 0),
                ("learning-rate", -1), ("learning-rate", "nan"), ("gradient-clip", 0),
            ]
        ),
        ("set", "segmentation_weight=nan", "segmentation_weight"),
        ("set", "alignmnt=pad", "alignmnt: there is no such setting; did you mean `alignment`"),
    ],
)  # fmt: skip
def test_the_command_refuses_numbers_that_cannot_be(data, tmp_path, option, value, said):
    files = {"moments": data.moments, "features": data.features, "queries": data.queries, "output-dir": tmp_path / "r"}
    arguments = [f"--{name}={given}" for name, given in {**files, option: value}.items()]
    result = CliRunner().invoke(app, ["train", *arguments])
    assert result.exit_code == 1
    assert re.search(rf"error: vmr train( --set)?: an entry is wrong:\n  .*{said}", result.output), result.output
    assert not (tmp_path / "r").exists()


def test_the_command_trains_as_it_was_told(data, tmp_path):
    files = {"moments": data.moments, "features": data.features, "queries": data.queries, "output-dir": tmp_path}
    # Each another number than its default.
    told = {
        "method": "mha", "seed": 3, "hidden": 8, "query-hidden": 4, "heads": 2, "dropout": 0.3, "lstm-dropout": 0.4,
        "max-steps": 16, "learning-rate": 1e-3, "batch-size": 16,
        "epochs": 2, "patience": 1, "gradient-clip": 0.5, "selection": "test", "validation-fraction": 0.2,
        "test-splits": "test", "precision": "bfloat16",
    }  # fmt: skip
    own = {"alignment": "pad", "segmentation_weight": 2.0}
    arguments = [f"--{name}={value}" for name, value in {**files, **told, "device": "cpu"}.items()]
    arguments += [f"--set={name}={value}" for name, value in own.items()]
    result = CliRunner().invoke(app, ["train", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    settings = own | {name.replace("-", "_"): value for name, value in told.items()} | {"test_splits": ["test"]}
    assert {name: record(tmp_path)["settings"][name] for name in settings} == settings


@pytest.mark.slow
def test_ci_mha_learns_planted_moments(tmp_path):
    data = write_synthetic(tmp_path, train_videos=40, test_videos=10)
    sizes = {"hidden": 64, "query_hidden": 32, "heads": 4, "batch_size": 32, "epochs": 40, "learning_rate": 1e-3}
    train_run(**data.inputs(), output_dir=tmp_path / "run", precision="float32", device="cpu", **sizes)
    table = read_moments(data.moments).set_index("query_id")
    found = []
    for answer in answers_of(tmp_path / "run", **data.inputs()):
        truth = table.loc[answer["query_id"], ["start_sec", "end_sec"]].to_numpy(dtype=float)
        found.append(temporal_iou(np.array(answer["spans"][0][:2]), truth))
    assert len(found) == 60
    # Three moments a video: naming any of them at random is right a third of the time.
    assert np.mean(np.array(found) >= 0.5) > 0.75
