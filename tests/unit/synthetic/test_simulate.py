import json

import h5py
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner
from written import imported, parsed, parsed_charades

from vmr.annotations.moments import MOMENT_COLUMNS, read_moments, write_moments
from vmr.cli import app
from vmr.config.feature_sections import Recipe
from vmr.errors import AnnotationError
from vmr.synthetic.simulate import choose_videos, simulate_features

SMALL = Recipe(dim=16, rank=8)


@pytest.fixture
def moments(tmp_path):
    """Twelve training and six test videos of 20.4 s, two sentences in each."""
    rows = [
        (f"{split}:{number}:{query}", f"{split}{number:02d}", split, 2.0 + query, 9.5, 20.4, f"person {verb} the door.")
        for split, count in (("train", 12), ("test", 6))
        for number in range(count)
        for query, verb in enumerate(("opens", "closes"))
    ]
    path = tmp_path / "moments.csv"
    write_moments(pd.DataFrame(rows, columns=MOMENT_COLUMNS), path)
    return path


def run(moments, folder, **changed):
    folder.mkdir(exist_ok=True)
    simulate_features(
        moments=moments,
        annotations={split: folder / f"{split}.txt" for split in ("train", "test")},
        durations=folder / "durations.csv",
        features=folder / "features.h5",
        recipe=SMALL.model_copy(update=changed),
    )
    with h5py.File(folder / "features.h5") as file:
        return {video_id: file[video_id][()] for video_id in file}, json.loads(file.attrs["provenance"])


def test_a_part_has_the_same_features_as_the_whole(moments, tmp_path):
    whole, provenance = run(moments, tmp_path / "whole")
    part, _ = run(moments, tmp_path / "part", videos={"train": 5})
    assert len(whole) == 18 and sum(name.startswith("train") for name in part) == 5
    assert sum(name.startswith("test") for name in part) == 6
    for video_id, features in part.items():
        assert features.dtype == np.float16 and features.shape == (62, 16)  # 20.4 s, three steps a second
        np.testing.assert_array_equal(features, whole[video_id])
    assert provenance["simulated"] is True and provenance["recipe"] == SMALL.model_dump(exclude={"videos"})


def test_the_import_takes_all_of_it_and_says_that_it_is_simulated(moments, tmp_path):
    features, _ = run(moments, tmp_path / "part", videos={"train": 5, "test": 2})
    folder = tmp_path / "part"
    files = {split: [folder / f"{split}.txt"] for split in ("train", "test")}
    table, _ = parsed(folder, files, durations=[folder / "durations.csv"])
    real = read_moments(moments)
    assert table["split"].value_counts().to_dict() == {"train": 10, "test": 4}
    columns = ["video_id", "split", "start_sec", "end_sec", "duration_sec", "sentence"]
    assert set(table[columns].itertuples(index=False)) <= set(real[columns].itertuples(index=False))
    store, coverage = imported(folder, folder / "features.h5", "hdf5", kind="simulated")
    assert set(coverage["status"]) == {"ok"}
    with store:
        assert set(store.video_ids) == set(features) == set(table["video_id"])
        assert store.provenance["extractor"] == "simulated"
        assert store.provenance["source_provenance"]["simulated"] is True
        assert store.get(store.video_ids[0]).end_sec[-1] == pytest.approx(20.4)


def test_what_cannot_be_simulated_is_an_error(moments, tmp_path):
    with pytest.raises(AnnotationError, match="the split test has 6 videos, 7 are to be simulated"):
        run(moments, tmp_path / "part", videos={"test": 7})
    table = read_moments(moments)
    with pytest.raises(AnnotationError, match=r"the split val has 0 videos.*There are: test, train"):
        choose_videos(table, split="val", number=None, source=moments)
    table.loc[table["video_id"] == "test03", "duration_sec"] = np.nan
    write_moments(table, moments)
    with pytest.raises(AnnotationError, match="1 videos have no known duration, test03 for one"):
        run(moments, tmp_path / "part")
    assert not (tmp_path / "part" / "features.h5").exists()


def test_the_part_of_charades_sta(shared_data, tmp_path):
    table, _ = parsed_charades(shared_data, tmp_path)
    chosen = {
        split: choose_videos(table, split=split, number=number, source=tmp_path)
        for split, number in (("train", 1200), ("test", 400))
    }
    assert {split: len(ids) for split, ids in chosen.items()} == {"train": 1200, "test": 400}
    # Order of the table does not matter.
    assert choose_videos(table[::-1], split="test", number=400, source=tmp_path) == chosen["test"]
    counts = {split: int(table["video_id"].isin(ids).sum()) for split, ids in chosen.items()}
    assert counts == {"train": 2781, "test": 1097}


def simulate_by_command(moments, folder, *more, annotations=("train=train.txt",)):
    given = [f"--annotations={split}={folder / file}" for split, _, file in (e.partition("=") for e in annotations)]
    files = [f"--moments={moments}", f"--durations={folder / 'durations.csv'}", f"--features={folder / 'features.h5'}"]
    return CliRunner().invoke(app, ["-q", "simulate", *files, *given, *more])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("noise=nan", "noise.0: Input should be a finite number (found: nan)"),
        ("strength=1e9", "strength: Input should be less than or equal to 1000"),  # beyond half precision
        ("stride=0", "stride: Input should be greater than 0"),
        ("fps=0", "fps: Input should be greater than 0"),
        ("videos=train=0", "videos.train: Input should be greater than 0"),
        ("videos=train=many", "videos.train: Input should be a valid integer"),
    ],
)
def test_the_command_refuses_numbers_that_cannot_be(moments, tmp_path, option, message):
    result = simulate_by_command(moments, tmp_path, f"--{option}")
    assert result.exit_code == 1
    assert result.output.startswith("error: vmr simulate: an entry is wrong:\n  " + message), result.output
    assert [path.name for path in tmp_path.iterdir()] == ["moments.csv"]


@pytest.mark.parametrize(
    ("annotations", "more", "message"),
    [
        (["train=a.txt", "train=b.txt"], [], "--annotations: a name is given twice (train, train)"),
        (["train=a.txt"], ["--videos=train=1", "--videos=train=2"], "--videos: a name is given twice"),
        (["train=a.txt"], ["--videos=test=1"], "--videos: test is not among the splits to write (train)"),
        (["train=a.txt", "test=a.txt"], [], "two of the files to write are one: "),
    ],
)
def test_the_command_refuses_splits_that_are_not_clear(moments, tmp_path, annotations, more, message):
    result = simulate_by_command(moments, tmp_path, *more, annotations=annotations)
    assert result.exit_code == 1 and result.output.startswith(f"error: {message}"), result.output
    assert [path.name for path in tmp_path.iterdir()] == ["moments.csv"]


def test_the_command_makes_what_it_was_told(moments, tmp_path):
    # Each another number than its default.
    told = {
        "seed": 3, "dim": 16, "rank": 8, "fps": 12.0, "stride": 4, "window": 32, "strength": 2.0, "scene": 0.25,
        "jitter": 0.1, "word_share": 0.5, "distractors": 1,
    }  # fmt: skip
    options = [f"--{name.replace('_', '-')}={value}" for name, value in told.items()]
    result = simulate_by_command(moments, tmp_path, *options, "--noise=0.1", "--noise=0.2", "--videos=train=5")
    assert result.exit_code == 0, result.output
    with h5py.File(tmp_path / "features.h5") as file:
        assert len(file) == 5
        assert json.loads(file.attrs["provenance"])["recipe"] == told | {"noise": [0.1, 0.2]}
