"""Features that are at hand instead of videos: what is planned, and a real run from files of numbers to a table."""

import csv
import json
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from vmr.cli import app
from vmr.config import read_config

CONFIG = Path(__file__).parents[2] / "config.yaml"
STEPS = 30
FOLDER = {"source": "held/npy", "layout": "npy_folder", "fps": 24, "stride": 8, "kind": "lgi"}
KINDS = ("fractal", "wave", "counter", "noise", "tiles")


def section(**changed):
    """A dataset without any video."""
    return {
        "title": "Held",
        "annotation_format": "charades_sta",
        "annotations": {"train": "held/train.txt", "test": "held/test.txt"},
        "durations": ["held/durations.csv"],
        "test_splits": {"test": "test"},
        "overrides": {
            "queries": {"vectors": "held/glove.txt"},
            "model": {"hidden": 16, "query_hidden": 8, "heads": 2},
            "training": {"methods": ["ci_mha"], "seeds": [0], "epochs": 2, "batch_size": 8, "device": "cpu"},
            "features": {"import": FOLDER},
        },
    } | changed  # fmt: skip


@pytest.fixture
def held(workdir):
    """Ten videos of 10 s (30 steps of 8 frames at 24 a second), an event in each, as .npy files and annotations."""
    random = np.random.default_rng(3)
    folder = workdir / "held"
    (folder / "npy").mkdir(parents=True)
    directions = random.normal(size=(len(KINDS), 8))
    lines = {"train": [], "test": []}
    for number in range(10):
        kind = number % len(KINDS)
        features = random.normal(size=(STEPS, 8)) * 0.1
        features[6:15] += directions[kind]
        # Half of the files have ActivityNet's prefix, which the annotations lack.
        np.save(folder / "npy" / f"{'v_' if number % 2 else ''}video{number}.npy", features.astype(np.float32))
        lines["test" if number >= 8 else "train"].append(f"video{number} 2.0 5.0##the {KINDS[kind]} appears.\n")
    for split, own in lines.items():
        (folder / f"{split}.txt").write_text("".join(own))
    (folder / "durations.csv").write_text("id,length\n" + "".join(f"video{number},10.0\n" for number in range(10)))
    words = [
        f"{word} {' '.join(f'{x:.3f}' for x in random.normal(size=6))}" for word in ("the", "appears", ".", *KINDS)
    ]
    (folder / "glove.txt").write_text("\n".join(words) + "\n")


def test_no_job_touches_a_video(planned, held):
    assert planned("results/mine_table.csv", overrides={"datasets": {"mine": section()}}) == {
        "parse_annotations": 1,
        "import_features": 1,
        "embed_queries": 1,
        "check_annotations": 1,
        "check_features": 1,
        "train": 1,
        "evaluate": 1,
        "compute_baselines": 1,
        "make_table": 1,
    }


def test_an_import_takes_the_place_of_a_shipped_datasets_extractors(planned, charades_annotations, workdir):
    (workdir / "i3d.h5").write_bytes(b"")
    overrides = {"features": {"import": {"source": "i3d.h5", "layout": "hdf5"}}}
    jobs = planned("results/charades_table.csv", overrides={"datasets": {"charades": {"overrides": overrides}}})
    assert jobs["import_features"] == 1
    assert not {"probe_videos", "decode_frames", "extract", "merge_features"} & set(jobs)


def test_videos_are_asked_only_for_durations_that_nothing_else_tells(planned, held):
    mine = section(durations=[], videos="held/videos", shards=3)
    jobs = planned("results/mine_table.csv", overrides={"datasets": {"mine": mine}})
    assert jobs["probe_videos"] == 3 and "decode_frames" not in jobs


@pytest.mark.slow
def test_from_files_of_numbers_to_a_table(snakemake, held, workdir):
    overrides = {"datasets": {"mine": section()}}
    snakemake("--", "results/mine_table.csv", overrides=overrides)
    with (workdir / "results" / "mine_table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    trained = [row for row in rows if row["method"] == "CI-MHA"]
    assert [row["features"] for row in trained] == ["lgi"]
    assert (trained[0]["queries"], trained[0]["coverage"]) == ("2", "100.00")
    run = json.loads((workdir / "work/mine/runs/lgi/ci_mha/seed_0/run.json").read_text())
    assert run["features"]["step_times"] == "stride / fps" and run["counts"]["annotated_videos"] == 8
    # A file that changes in place leaves its folder's time as it was.
    np.save(workdir / "held" / "npy" / "video0.npy", np.ones((STEPS, 9), dtype=np.float32))
    planned = snakemake("--dry-run", "--", "results/mine_table.csv", overrides=overrides).stdout
    assert "rule import_features" in planned and "rule parse_annotations" not in planned


@pytest.mark.parametrize("dataset", ["charades_sim", "charades_sim_small"])
def test_simulated_features_come_from_the_sentences_alone(planned, charades_annotations, dataset):
    # 5 seeds of its methods; the real annotations are parsed for the simulation, then its own
    runs = 5 * len(read_config(CONFIG).for_dataset(dataset).training.methods)
    assert planned(f"results/{dataset}_table.csv") == {
        "parse_annotations": 2,
        f"simulate_{dataset}": 1,
        "import_features": 1,
        "prepare_asset": 1,
        "embed_queries": 1,
        "check_annotations": 1,
        "check_features": 1,
        "train": runs,
        "evaluate": runs,
        "compute_baselines": 1,
        "make_table": 1,
    }


def test_the_rule_of_a_simulation_runs(snakemake, charades_annotations, workdir, monkeypatch):
    recipe = {"dim": 16, "rank": 8, "noise": [0.5, 1.0], "videos": {"train": 1, "test": 1}}
    overrides = {"datasets": {"charades_sim_small": {"simulate": recipe}}}
    target = "work/charades_sim_small/simulated/features.h5"
    planned = snakemake("--dry-run", "--printshellcmds", "--", target, overrides=overrides).stdout
    monkeypatch.chdir(workdir)
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    for command in re.findall(r"python -m vmr (.*?) +> logs", planned):
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, result.output
    with h5py.File(target) as file:
        assert {name: file[name].shape for name in file if name == "CCCCC"} == {"CCCCC": (12, 16)}  # 4 s
        assert len(file) == 2 and json.loads(file.attrs["provenance"])["recipe"]["noise"] == [0.5, 1.0]
    assert (workdir / target).with_name("test.txt").read_text() == "CCCCC 0.5 2.5##a person opens a door.\n"
    assert "CCCCC,4.0" in (workdir / target).with_name("durations.csv").read_text()
