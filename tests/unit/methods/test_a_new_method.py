"""A method that is one entry and one file: all that lists, trains, scores, shows and asks methods takes it up."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from synthetic import SyntheticData, assert_same, evaluate_run, killed_at, record, train_run, weights, write_synthetic
from toy_methods import TOYS
from typer.testing import CliRunner

from vmr.cli import app
from vmr.config.sections import ReportSettings
from vmr.locate.export import export_run
from vmr.locate.locator import Locator
from vmr.methods.catalogue import METHODS, method_digest, method_settings, methods_table, sections_model
from vmr.report.cases import study_cases
from vmr.report.page import make_report
from vmr.serve.answering import plain
from vmr.serve.library import Video
from vmr.tables.make import make_table
from vmr.training import loop
from vmr.training.checkpoint import load_checkpoint

SMALL = {"hidden": 8, "query_hidden": 4, "heads": 2, "batch_size": 16, "epochs": 4, "device": "cpu"}


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, method in TOYS.items():
        monkeypatch.setitem(METHODS, name, method)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SyntheticData:
    return write_synthetic(tmp_path_factory.mktemp("toys"), train_videos=8, test_videos=3)


def test_it_trains_and_appears_everywhere(data: SyntheticData, tmp_path: Path) -> None:
    files = {
        "moments": data.moments,
        "features": data.features,
        "queries": data.queries,
        "output-dir": tmp_path / "toy",
    }
    options = {name.replace("_", "-"): value for name, value in (files | SMALL).items()} | {
        "method": "toy",
        "set": "bins=5",
    }
    result = CliRunner().invoke(
        app, ["train", *(f"--{name}={value}" for name, value in options.items())], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    train_run(**data.inputs(), output_dir=tmp_path / "ci_mha", **SMALL)
    runs = [tmp_path / "ci_mha", tmp_path / "toy"]
    for run in runs:
        evaluate_run(run, data, dataset="d", features="f")
    metrics = [run / "metrics_test.json" for run in runs]
    table = {"metrics": metrics, "baselines": [], "published": None, "dataset": "d"}
    make_table(**table, output_csv=tmp_path / "t.csv", output_md=tmp_path / "t.md")
    assert pd.read_csv(tmp_path / "t.csv")["method"].tolist() == ["CI-MHA", "Toy"]

    study_cases(
        runs=runs, split_name="test", splits=["test"], **data.inputs(), frames=[], dataset="d", features_label="f",
        output=tmp_path / "cases.json", settings=ReportSettings(cases=1, random_cases=1), device="cpu",
    )  # fmt: skip
    case = json.loads((tmp_path / "cases.json").read_text())["cases"][0]
    assert set(case["methods"]["toy"]["curves"]) == {"start_sec", "end_sec", "inside"}
    make_report(
        **table, title="d", table_text=tmp_path / "t.md", moments={"d": data.moments}, manifests=[], coverage={},
        cases=[tmp_path / "cases.json"], benchmarks=[], output=tmp_path / "page.html",
    )  # fmt: skip
    page = (tmp_path / "page.html").read_text()
    assert ".m-toy .line { stroke-dasharray: 1 1; }" in page and 'class="lane s m-toy"' in page

    export_run(run=tmp_path / "toy", output=tmp_path / "model.safetensors", vectors=data.vectors)
    locator = Locator.load(tmp_path / "model.safetensors", features=data.features, device="cpu")
    answer = locator.locate("test008.mp4", "the wave appears", top=3)
    shown = plain(answer, Video("1", "test008", Path("test008.mp4"), 0))
    assert len(shown["moments"]) >= 1 and set(shown["curve"]) == {"start_sec", "end_sec", "inside"}

    assert "| `toy` | Toy | nobody 2026 | idea | span regression and boundaries | runs of parts |" in methods_table()
    sections = sections_model().model_validate({"toy": {"bins": 3}})
    assert method_settings("toy", sections).bins == 3
    assert method_digest("toy") != method_digest("weak_toy")


def test_word_ids_reach_the_network_and_its_size_is_kept(data: SyntheticData, tmp_path: Path) -> None:
    train_run(**data.inputs(), output_dir=tmp_path, method="toy", **SMALL | {"epochs": 1})
    network, info = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert info["sizes"]["vocabulary"] == network.words.num_embeddings > 6
    assert "heads" not in info["sizes"] and info["settings"]["bins"] == 4  # what it takes is kept, and no more


def test_stages_train_what_they_say_from_the_best_weights_before(
    data: SyntheticData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ended = [], []
    original = loop._train_epoch

    def copied(step) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in step.model.state_dict().items()}

    def watched(step, *args, **kwargs):
        began.append((step.stage, copied(step)))
        result = original(step, *args, **kwargs)
        ended.append(copied(step))
        assert step.model.video_encoder.training is (step.stage == "match")
        assert step.model.refine.training
        frozen = step.model.refine if step.stage == "match" else step.model.words
        assert all(parameter.grad is None for parameter in frozen.parameters())
        return result

    monkeypatch.setattr(loop, "_train_epoch", watched)
    train_run(**data.inputs(), output_dir=tmp_path, method="toy", learning_rate=1e-2, **SMALL | {"epochs": 6})
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["stage"].tolist() == ["match"] * 3 + ["refine"] * 3
    assert history["learning_rate"].tolist() == pytest.approx([1e-2] * 3 + [1e-3] * 3)
    best = int(history["mIoU"][:3].idxmax())  # the first of equals
    second = next(state for stage, state in began if stage == "refine")
    assert_same(ended[best], second)
    final = weights(tmp_path)
    # The first stage leaves `refine` as it was drawn; the second changes nothing else.
    assert_same({name: began[0][1][name] for name in final if name.startswith("refine")}, second)
    assert_same({name: second[name] for name in final if not name.startswith("refine")}, final)
    assert not torch.equal(second["refine.weight"], final["refine.weight"])
    run = record(tmp_path)
    assert run["chosen_epoch"] > 3 and [stage["name"] for stage in run["settings"]["stages"]] == ["match", "refine"]


@pytest.mark.parametrize("call", [2, 3, 4])
@pytest.mark.parametrize("method", TOYS)
def test_a_killed_run_ends_in_the_same_weights(
    data: SyntheticData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, call: int
) -> None:
    train_run(**data.inputs(), output_dir=tmp_path / "whole", method=method, **SMALL)

    def again() -> None:
        train_run(**data.inputs(), output_dir=tmp_path / "killed", method=method, **SMALL)

    killed_at(monkeypatch, "_train_epoch", call, again)  # 3: just after the first stage
    again()
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
