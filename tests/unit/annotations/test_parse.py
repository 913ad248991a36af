import json
import logging

import pytest
from written import parsed as parse
from written import parsed_charades

from vmr.annotations.parse import parse_annotations
from vmr.errors import AnnotationError, ShardError

# The counts of ../shared/data/README.md. Lines and videos count the 4 degenerate lines in, as the README does.
CHARADES_COUNTS = {
    "train": {"lines": 12408, "queries": 12404, "videos": 5338, "degenerate": 4, "malformed": 0, "past_end": 1805},
    "test": {"lines": 3720, "queries": 3720, "videos": 1334, "degenerate": 0, "malformed": 0, "past_end": 562},
}
ACTIVITYNET_COUNTS = {
    "train": {"lines": 37421, "queries": 37417, "videos": 10009, "degenerate": 4},
    "val_1": {"lines": 17505, "queries": 17505, "videos": 4917, "degenerate": 0},
    "val_2": {"lines": 17031, "queries": 17031, "videos": 4885, "degenerate": 0},
}


def differences(report):
    return [
        (split, name, row)
        for split, rows in report["comparison"].items()
        for name, row in rows.items()
        if not row["equal"]
    ]


def test_charades_sta_has_its_known_counts(shared_data, tmp_path):
    moments, report = parsed_charades(shared_data, tmp_path, expected=CHARADES_COUNTS)
    assert differences(report) == []
    assert [int(row["where"].rsplit(":", 1)[1]) for row in report["splits"]["train"]["degenerate"]] == [
        8252,
        8440,
        9623,
        9624,
    ]
    assert max(report["splits"][split]["past_end"]["max_sec"] for split in ("train", "test")) == 1.54
    assert report["videos_without_duration"] == [] and report["duration_problems"] == []
    assert len(moments) == 12404 + 3720
    first = moments[moments["query_id"] == "test:1"].iloc[0]
    assert (first["video_id"], first["start_sec"], first["end_sec"]) == ("3MSZA", 24.3, 30.4)


def test_activitynet_captions_has_its_known_counts(shared_data, tmp_path):
    folder = shared_data / "activitynet_captions"
    moments, report = parse(
        tmp_path,
        annotation_format="activitynet_captions",
        annotations={split: [folder / f"{split}.json"] for split in ACTIVITYNET_COUNTS},
        expected=ACTIVITYNET_COUNTS,
    )
    assert differences(report) == []
    # Every val_2 video is in val_1 (README), so the training videos share none with either.
    assert report["videos_in_several_splits"] == {"val_1+val_2": 4885}
    assert len(moments) == 37417 + 17505 + 17031
    assert moments["duration_sec"].notna().all()


def test_own_videos_without_durations(tmp_path):
    (tmp_path / "train.txt").write_text("a 1 2##one.\nb 3 4##two.\n")
    moments, report = parse(tmp_path, {"train": [tmp_path / "train.txt"]})
    assert moments["duration_sec"].isna().all()
    assert report["videos_without_duration"] == ["a", "b"]


def test_several_files_of_a_split_keep_unique_ids(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text("a 1 2##same.\n")
    moments, report = parse(tmp_path, {"train": [tmp_path / "one.txt", tmp_path / "two.txt"]})
    assert moments["query_id"].tolist() == ["train:1", "train.2:1"]
    assert report["splits"]["train"]["lines"] == 2


def test_spans_past_the_end_are_counted_and_left_raw(tmp_path):
    (tmp_path / "train.txt").write_text("a 1 10.5##past.\na 11 12##beyond.\na 1 10##exactly.\n")
    (tmp_path / "durations.csv").write_text("id,length\na,10\n")
    moments, report = parse(tmp_path, {"train": [tmp_path / "train.txt"]}, durations=[tmp_path / "durations.csv"])
    past = report["splits"]["train"]["past_end"]
    assert (past["count"], past["max_sec"]) == (2, 2.0)
    assert past["empty_when_clamped"] == [f"{tmp_path / 'train.txt'}:2"]
    assert moments["end_sec"].tolist() == [10.5, 12.0, 10.0]


def test_durations_that_contradict_each_other_are_reported(tmp_path):
    entry = {"duration": 10, "timestamps": [[0, 1]], "sentences": ["One."]}
    for split, duration in (("train", 10), ("val", 11)):
        (tmp_path / f"{split}.json").write_text(json.dumps({"v": entry | {"duration": duration}}))
    moments, report = parse(
        tmp_path,
        annotation_format="activitynet_captions",
        annotations={split: [tmp_path / f"{split}.json"] for split in ("train", "val")},
    )
    assert moments["duration_sec"].tolist() == [10.0, 10.0]
    assert "10.0 s before" in report["duration_problems"][0]["reason"]


def test_other_counts_than_the_known_ones_are_a_warning(tmp_path, caplog):
    (tmp_path / "train.txt").write_text("a 1 2##one.\n")
    with caplog.at_level(logging.WARNING):
        _, report = parse(tmp_path, {"train": [tmp_path / "train.txt"]}, expected={"train": {"lines": 2, "queries": 1}})
    assert report["comparison"]["train"]["lines"] == {"expected": 2, "found": 1, "equal": False}
    assert [record.getMessage() for record in caplog.records] == [
        "train: lines is 1, but 2 is known; another edition of the file?"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"annotation_format": "tacos"}, "charades_sta, activitynet_captions"),
        ({"annotations": {}}, "no annotation files"),
        ({"annotations": {"train": []}}, "no annotation files"),
        ({"expected": {"valid": {}}}, "'valid'"),
        ({"expected": {"train": {"line": 3}}}, "'line'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path, options, message):
    (tmp_path / "train.txt").write_text("a 1 2##one.\n")
    with pytest.raises(AnnotationError, match=message):
        parse(tmp_path, **({"annotations": {"train": [tmp_path / "train.txt"]}} | options))


def test_only_degenerate_spans_leave_nothing(tmp_path):
    (tmp_path / "train.txt").write_text("a 2 1##one.\n")
    with pytest.raises(AnnotationError, match="no usable query"):
        parse(tmp_path, {"train": [tmp_path / "train.txt"]})
    assert not (tmp_path / "moments.csv").exists()


@pytest.mark.parametrize("name", ["output", "report"])
def test_a_file_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "train.txt").write_text("a 1 2##one.\n")
    (tmp_path / "file").write_text("no folder")
    paths = {"output": tmp_path / "moments.csv", "report": tmp_path / "report.json", name: tmp_path / "file" / "x.csv"}
    with pytest.raises(ShardError, match=r"file/x\.csv: cannot be written.*choose another folder"):
        parse_annotations(
            annotation_format="charades_sta", annotations={"train": [tmp_path / "train.txt"]}, durations=[], **paths
        )


@pytest.mark.parametrize(
    ("kind", "content", "where"),
    [
        ("csv", b"video,start,end,sentence,query_id\nA,0,1,a.,caf\xe9\nA,0,2,b.,\xc3\xa9\xc3\xa9\n", "a:2"),
        ("csv", b'video,start,end,sentence,query_id\nA,0,1,a.,"on\ne"\nA,0,2,b.,two\n', "a:2"),
        (
            "activitynet_captions",
            b'{"caf\xe9": 3, "A": {"timestamps": [[0, 2]], "sentences": ["b."]}}',
            "a: caf\\udce9",
        ),
        ("activitynet_captions", b'{"\\ud800": 3, "A": {"timestamps": [[0, 2]], "sentences": ["b."]}}', "a: \\ud800"),
    ],
)
def test_bytes_that_are_no_text_cost_one_sentence(tmp_path, kind, content, where):
    (tmp_path / "a").write_bytes(content)
    moments, report = parse(tmp_path, annotation_format=kind, annotations={"train": [tmp_path / "a"]})
    assert moments["sentence"].tolist() == ["b."]
    assert [row["where"] for row in report["splits"]["train"]["malformed"]] == [f"{tmp_path}/{where}"]


def test_a_csv_that_is_named_in_two_ways_is_divided_as_one(tmp_path):
    (tmp_path / "sub").mkdir()
    rows = "".join(f"v{number},0,1,a.\n" for number in range(10))
    (tmp_path / "a.csv").write_text(f"video,start,end,sentence\n{rows}")
    annotations = {"train": [tmp_path / "a.csv"], "test": [tmp_path / "sub" / ".." / "a.csv"]}
    moments, _ = parse(tmp_path, annotation_format="csv", annotations=annotations)
    assert moments["split"].value_counts().to_dict() == {"train": 8, "test": 2}


def test_an_id_that_is_no_text_costs_one_duration(tmp_path):
    (tmp_path / "a.txt").write_text("A 0 1##one.\n")
    (tmp_path / "lengths.csv").write_bytes(b"id,length\ncaf\xe9,long\nA ,2\n")
    moments, report = parse(tmp_path, {"train": [tmp_path / "a.txt"]}, durations=[tmp_path / "lengths.csv"])
    assert moments["duration_sec"].tolist() == [2.0]
    assert "caf\\udce9" in report["duration_problems"][0]["reason"]


def test_one_bad_name_of_a_video_does_not_stop_a_dataset(tmp_path):
    rows = [f"day1/v{number}.mp4,0,1,a man walks.,9" for number in range(19)]
    bad = ["a/..,0,1,a man walks.,3", "b/..,0,1,a man walks.,4"]
    rows = ["video,start,end,sentence,duration", *rows, *bad, "day2/v3.mp4,0,1,a dog runs.,5"]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(rows))
    moments, report = parse(tmp_path, annotation_format="csv", annotations={"test": [path]})
    assert len(moments) == 19 and set(moments["duration_sec"]) == {9}
    left_out = {line["where"]: line["reason"] for line in report["splits"]["test"]["malformed"]}
    assert "cannot name a video" in left_out[f"{path}:21"] and "cannot name a video" in left_out[f"{path}:22"]
    assert "day1/v3.mp4 and day2/v3.mp4 are two files of one name" in left_out[f"{path}:23"]
    path.write_text("\n".join([*rows, "day2/v4.mp4,0,1,a dog runs.,5", "day2/v5.mp4,0,1,a dog runs.,5"]))
    with pytest.raises(AnnotationError, match=r"own\.csv:23: day1/v3\.mp4 and day2/v3\.mp4 are two files"):
        parse(tmp_path, annotation_format="csv", annotations={"test": [path]})
