"""`vmr.evaluation.ground_truth`: annotation files of every kind, told by their content, as queries to score."""

import json

import pandas as pd
import pytest

from vmr.annotations.moments import MOMENT_COLUMNS, write_moments
from vmr.errors import AnnotationError, EvaluationError
from vmr.evaluation.ground_truth import load_ground_truth

CHARADES = "AAAAA 1.0 9.5##a person sits.\nBBBBB 3 2##a dog runs.\n\nBBBBB 0 2##a dog barks.\nAAAAA 0 1##a door.\n"
CAPTIONS = {
    "v_a": {"duration": 8.0, "timestamps": [[0, 4], [5, 5], [2, 9]], "sentences": ["One.", "Two.", "Three."]},
    "v_b": {"video_duration": 6.0, "timestamps": [[1, 2]], "sentences": ["Four."]},
}

OWN = "file;from;to;text;split\nA.mp4;0:00;5,5;x;test\nA.mp4;4;3;y;test\nA.mp4;0;1;z;test\nB;0;1;u;train\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "charades_test.txt").write_text(CHARADES)
    (tmp_path / "val_1.json").write_text(json.dumps(CAPTIONS))
    (tmp_path / "val_2.json").write_text("\ufeff  " + json.dumps({"v_a": CAPTIONS["v_a"]}))
    rows = [("train:1", "A", "train", 0.0, 1.0, 4.0, "x"), ("test:1", "A", "test", 0.0, 5.0, 4.0, "x, y")]
    write_moments(pd.DataFrame(rows, columns=MOMENT_COLUMNS), tmp_path / "moments.csv")
    (tmp_path / "own.csv").write_text(OWN)
    (tmp_path / "durations.csv").write_text("id,length\nAAAAA,9.0\nA,3.0\n")
    return tmp_path


def _load(folder, *names, **more):
    return load_ground_truth([str(folder / name) for name in names], **{"splits": []} | more)


def test_a_csv_with_splits_of_its_own(files):
    truth = _load(files, "own.csv", splits=["test"], durations=[files / "durations.csv"])
    assert truth.queries["query_id"].tolist() == ["test:2", "test:4"]
    assert truth.queries["clamped_end_sec"].tolist() == [3.0, 1.0]
    assert truth.finder.find({"video_id": "A", "index": 2}).query_id == "test:4"
    with pytest.raises(EvaluationError, match="holds the splits test, train"):
        _load(files, "own.csv")


def test_a_csv_without_splits_is_named_by_its_file(files):
    (files / "held.csv").write_text("video,start,end,sentence,query_id\nA,0,1,x,one\n")
    assert _load(files, "held.csv").queries["query_id"].tolist() == ["held:one"]


def test_lines_of_charades_are_numbered_from_one_with_blank_and_empty_ones(files):
    truth = _load(files, "charades_test.txt", durations=[files / "durations.csv"])
    assert truth.queries["query_id"].tolist() == ["charades_test:1", "charades_test:4", "charades_test:5"]
    assert truth.queries["clamped_end_sec"].tolist() == [9.0, 2.0, 1.0]
    # The line without length is known and counted, though nobody can find it.
    line = truth.finder.find({"query_id": "2"})
    assert (line.is_scored, line.index) == (False, 0)
    assert truth.finder.find({"video_id": "BBBBB", "index": 1}).query_id == "charades_test:4"
    assert truth.finder.find({"video_id": "AAAAA", "index": 1}).query_id == "charades_test:5"
    assert truth.facts[0]["not_scored"] == 1


def test_sentences_of_captions_keep_their_place_in_the_list(files):
    truth = _load(files, "val_1.json")
    assert truth.queries["query_id"].tolist() == ["val_1:v_a:0", "val_1:v_a:2", "val_1:v_b:0"]
    assert truth.queries["clamped_end_sec"].tolist() == [4.0, 8.0, 2.0]
    assert truth.finder.find({"video_id": "v_a", "index": 2}).query_id == "val_1:v_a:2"
    # Charades-CD calls it video_duration.
    assert truth.queries["duration_sec"].tolist() == [8.0, 8.0, 6.0]


def test_splits_are_named_by_the_option_or_the_file(files):
    truth = load_ground_truth([f"one={files / 'val_1.json'}", str(files / "val_2.json")], splits=[])
    assert sorted(set(truth.queries["split"])) == ["one", "val_2"]
    assert truth.finder.find({"query_id": "v_a:0", "split": "one"}).query_id == "one:v_a:0"
    assert len(_load(files, "val_1.json", "val_2.json", splits=["val_2"]).queries) == 2


def test_a_path_with_an_equals_sign_is_a_path(files):
    (files / "a=b").mkdir()
    (files / "a=b" / "val.txt").write_text(CHARADES)
    assert len(_load(files / "a=b", "val.txt").queries) == 3


def test_a_table_of_moments_keeps_its_ids(files):
    truth = _load(files, "moments.csv", splits=["test"], durations=[files / "durations.csv"])
    assert truth.queries["query_id"].tolist() == ["test:1"]
    assert truth.queries["clamped_end_sec"].tolist() == [4.0]  # its own duration comes first
    assert truth.finder.find({"video_id": "A", "sentence": "X, Y", "split": "test"}).query_id == "test:1"


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        (["moments.csv"], {}, r"moments\.csv: holds the splits test, train.*--splits"),
        (["moments.csv"], {"splits": ["val"]}, "no queries in the split val; there are: train, test"),
        (["val_1.json", "val_1.json"], {}, "val_1:v_a:0 is in more than one"),
        (["charades_test.txt"], {"annotation_format": "activitynet_captions"}, "not JSON"),
        (["gone.txt"], {}, r"gone\.txt: no such annotation file"),
    ],
)
def test_what_cannot_be_scored_is_refused(files, names, options, said):
    with pytest.raises((EvaluationError, AnnotationError), match=said):
        _load(files, *names, **options)


def test_a_duration_that_one_file_gives_holds_for_all(files):
    (files / "one.json").write_text(json.dumps({"v": {"duration": 5, "timestamps": [[0, 4]], "sentences": ["One."]}}))
    (files / "two.json").write_text(json.dumps({"v": {"timestamps": [[0, 9]], "sentences": ["Two."]}}))
    (files / "list.csv").write_text("id,length\nv,7\n")
    for durations in ([], [files / "list.csv"]):  # what annotations give goes before
        truth = _load(files, "one.json", "two.json", splits=["two"], durations=durations)
        assert truth.queries[["duration_sec", "end_sec", "clamped_end_sec"]].to_numpy().tolist() == [[5.0, 9.0, 5.0]]
    assert _load(files, "two.json", durations=[files / "list.csv"]).queries["clamped_end_sec"].tolist() == [7.0]


def test_spellings_of_a_split_are_one(files):
    (files / "spelled.csv").write_text("video,start,end,sentence,split\nA,0,1,x,Test\nA,1,2,y,test\nB,0,1,z,Train\n")
    assert _load(files, "spelled.csv", splits=["Test"]).queries["sentence"].tolist() == ["x", "y"]
