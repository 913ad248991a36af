"""`vmr add-dataset`: a folder and a CSV become a section, and what does not fit is said."""

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from vmr.cli import app
from vmr.config import read_config

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the shipped configuration, ten videos and a CSV of two sentences about each."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    (tmp_path / "my videos").mkdir()
    for number in range(10):
        (tmp_path / "my videos" / f"kitchen{number:02d}.MP4").write_bytes(b"film")
    rows = [f"kitchen{number:02d},{start},9,a person sits.\n" for number in range(10) for start in (1, 2)]
    (tmp_path / "words.csv").write_text("video,start,end,sentence\n" + "".join(rows))
    return tmp_path


def add(*more, name="mine"):
    return CliRunner().invoke(app, ["add-dataset", name, "--videos", "my videos", "--csv", "words.csv", *more])


def append(folder, text):
    with (folder / "words.csv").open("a") as file:
        file.write(text)


def test_the_section_is_added_and_the_rest_stays(folder):
    before = (folder / "config.yaml").read_text()
    result = add("--title", "My kitchen: a trial")
    assert result.exit_code == 0, result.output
    after = (folder / "config.yaml").read_text()
    head, tail = before.split("datasets:\n")
    assert after.startswith(f"{head}datasets:\n  mine:\n    title: 'My kitchen: a trial'\n") and after.endswith(
        f"\n{tail}"
    )
    dataset = read_config(folder / "config.yaml").datasets["mine"]
    assert dataset.annotations == {"train": ["words.csv"], "test": ["words.csv"]}
    assert (dataset.videos, dataset.test_splits, dataset.overrides) == ("my videos", {"test": ["test"]}, {})
    assert "train: 16 sentences about 8 videos" in result.output
    assert "test: 4 sentences about 2 videos" in result.output
    assert "10 of 10 videos are there" in result.output
    assert "--quick" in result.output and "vmr doctor mine" in result.output


def test_quick_settings_are_the_demos(folder):
    assert add("--quick").exit_code == 0
    config = read_config(folder / "config.yaml")
    mine, demo = config.for_dataset("mine"), config.for_dataset("demo")
    more = {"epochs": 30, "seeds": [0, 1, 2, 3]}  # a small test set wants more of both
    assert mine.model == demo.model and mine.training == demo.training.model_copy(update=more)
    assert mine.features["i3d"] == demo.features["i3d"].model_copy(update={"crop": None})  # real things are small


def test_a_validation_split_is_said_to_be_tested_on(folder):
    splits = ["train"] * 10 + ["test"] * 6 + ["val"] * 4
    head, *rows = (folder / "words.csv").read_text().splitlines()
    rows = [f"{row},{split}\n" for row, split in zip(rows, splits, strict=True)]
    (folder / "words.csv").write_text(f"{head},split\n" + "".join(rows))
    assert "val: a block of the table. Epochs are chosen on a share of the training videos" in add().output
    assert set(read_config(folder / "config.yaml").datasets["mine"].test_splits) == {"test", "val"}


def test_columns_that_are_not_used_are_named(folder):
    text = (folder / "words.csv").read_text().replace("\n", ",yes\n").replace("sentence,yes", "sentence,checked by")
    (folder / "words.csv").write_text(text)
    assert "columns that are not used: checked by" in add().output


def test_what_does_not_fit_is_said(folder):
    append(
        folder, "kitchen1,1,2,one.\nkitchn05,1,2,one.\nkitchen02,x,2,two.\nkitchen03,5,4,three.\nelsewhere,1,2,four.\n"
    )
    (folder / "my videos" / "kitchen010.mkv").write_bytes(b"film")
    output = add().output
    assert "10 of 13 videos are there" in output
    assert "missing: 3\n    elsewhere\n    kitchen1 (is it kitchen01?)\n    kitchn05 (is it kitchen05?)" in output
    assert "files that no row names: 1\n    kitchen010.mkv" in output
    assert "rows with a problem: 2" in output
    assert (
        "words.csv:24: the start 'x' is no time" in output and "words.csv:25: starts at 5 s but ends at 4 s" in output
    )


def test_a_file_that_is_named_but_not_taken_is_said(folder):
    append(folder, "tub.mkv,1,2,one.\nsink,1,2,one.\n")
    for name in ("tub.mp4", "tub.mkv", "sink.mp4", "sink.wav"):
        (folder / "my videos" / name).write_bytes(b"film")
    output = add().output
    assert "left aside: 2\n    sink.wav (sink.mp4 is taken)\n    tub.mkv (tub.mp4 is taken, though a row" in output
    assert "no row names" not in output


@pytest.mark.parametrize(
    ("written", "splits"),
    [(["train", "test", "val"], ["train", "test", "val"]), (["Train", "train", "TEST"], ["train", "TEST"])],
)
def test_splits_of_the_csv_are_taken(folder, written, splits):
    rows = "".join(f"kitchen{number:02d},1,9,one.,{split}\n" for number, split in enumerate(written))
    (folder / "words.csv").write_text("video,start,end,sentence,split\n" + rows)
    result = add()
    assert result.exit_code == 0, result.output
    assert f"train: {4 - len(splits)} sentences" in result.output
    dataset = read_config(folder / "config.yaml").datasets["mine"]
    assert dataset.test_splits == {name: [name] for name in splits[1:]} and set(dataset.annotations) == set(splits)


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (None, "demo", "has a dataset `demo` already"),
        (None, "../mine", "is not a name for a dataset"),
        (lambda folder: (folder / "config.yaml").unlink(), "mine", "config.yaml: there is no such configuration file"),
        (lambda folder: (folder / "words.csv").unlink(), "mine", "words.csv: no such annotation file"),
        (lambda folder: shutil.rmtree(folder / "my videos"), "mine", "my videos: there is no such folder"),
        (
            lambda folder: [path.rename(path.with_stem(f"x{path.stem}")) for path in (folder / "my videos").iterdir()],
            "mine",
            "is there, such as kitchen00; it holds 10 videos such as xkitchen00.MP4",
        ),
        (
            lambda folder: (folder / "words.csv").write_text("split,video,start,end,sentence\nall,a,1,2,one.\n"),
            "mine",
            "the column split holds all; `train` and at least one other were expected",
        ),
        (
            lambda folder: (folder / "words.csv").write_text(
                "split,video,start,end,sentence\ntrain,a,1,2,one.\ntest 1/2,b,1,2,one.\n"
            ),
            "mine",
            "words.csv: the column split holds 'test 1/2'; letters, digits",
        ),
        (
            lambda folder: (folder / "words.csv").write_text(
                "video,end,start,sentence\nkitchen00,1,2,one.\nb,4,5,two.\n"
            ),
            "mine",
            "every moment starts at or after its end. Are the columns exchanged?",
        ),
    ],
)
def test_what_cannot_be_added_changes_nothing(folder, change, name, message):
    if change:
        change(folder)
    before = (folder / "config.yaml").read_text() if (folder / "config.yaml").exists() else None
    result = add(name=name)
    assert result.exit_code == 1 and message in result.output
    assert before is None or (folder / "config.yaml").read_text() == before


def test_a_configuration_in_another_shape_is_left_to_its_owner(folder):
    values = yaml.safe_load((folder / "config.yaml").read_text())
    text = yaml.safe_dump(values, default_flow_style=True)
    (folder / "config.yaml").write_text(text)
    result = add()
    assert result.exit_code == 1 and "Write this below `datasets:`\n  mine:\n    title: mine\n" in result.output
    assert (folder / "config.yaml").read_text() == text


def test_the_file_keeps_its_line_ends_its_mode_and_what_links_to_it(folder):
    kept = folder / "kept.yaml"
    text = (folder / "config.yaml").read_text().replace("\n", "\r\n")
    kept.write_text(text, newline="")
    kept.chmod(0o600)
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").symlink_to("kept.yaml")
    assert add().exit_code == 0
    assert (folder / "config.yaml").is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o600
    after = kept.read_bytes()
    assert after.count(b"\n") == after.count(b"\r\n")
    head, tail = text.encode().split(b"datasets:\r\n", 1)
    assert after.startswith(head + b"datasets:\r\n  mine:\r\n") and after.endswith(b"\r\n\r\n" + tail)
    assert "mine" in read_config(folder / "config.yaml").datasets
