import math
from pathlib import Path

import pandas as pd
import pytest

from vmr.annotations.moments import (
    MOMENT_COLUMNS,
    clamp_spans,
    read_moments,
    validation_videos,
    video_durations,
    write_moments,
)
from vmr.errors import AnnotationError


def moments(*rows):
    return pd.DataFrame(rows, columns=MOMENT_COLUMNS)


TABLE = moments(
    ("train:1", "007", "train", 0.1, 1 / 3, 10.0, 'says "hi", then\u00e9'),
    ("train:2", "nan", "train", 24.3, 30.4, float("nan"), "null"),
)


def test_table_survives_writing_and_reading(tmp_path):
    write_moments(TABLE, tmp_path / "deep" / "moments.csv")
    read = read_moments(tmp_path / "deep" / "moments.csv")
    assert list(read.columns) == MOMENT_COLUMNS
    assert read["video_id"].tolist() == ["007", "nan"]
    assert read["sentence"].tolist() == ['says "hi", then\u00e9', "null"]
    assert read["end_sec"].tolist() == [1 / 3, 30.4]
    assert read["duration_sec"].iloc[0] == 10.0 and math.isnan(read["duration_sec"].iloc[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query_id,video_id,split,start_sec,end_sec,duration_sec,sentence\n1,a,train,x,2,3,s\n", "start_sec"),
        ("query_id,video_id,split,start_sec,end_sec,duration_sec,sentence\n1,a,train,,2,3,s\n", "query 1"),
        (
            "query_id,video_id,split,start_sec,end_sec,duration_sec,sentence\n1,a,train,1,2,3,s\n1,b,train,1,2,3,s\n",
            "twice",
        ),
    ],
)
def test_what_is_no_table_of_moments_is_refused(tmp_path: Path, text, message):
    (tmp_path / "moments.csv").write_text(text)
    with pytest.raises(AnnotationError, match=message):
        read_moments(tmp_path / "moments.csv")


def test_missing_table_names_the_stage_to_run(tmp_path):
    with pytest.raises(AnnotationError, match="parse_annotations"):
        read_moments(tmp_path / "moments.csv")


def test_the_annotations_duration_comes_before_the_manifests():
    manifest = pd.DataFrame({"video_id": ["007", "nan", "other"], "duration_sec": [9.5, 31.0, 5.0]})
    assert video_durations(TABLE, manifest) == {"007": 10.0, "nan": 31.0}
    assert video_durations(TABLE) == {"007": 10.0}


def test_spans_are_cut_to_the_video():
    table = moments(
        ("q:1", "a", "test", 24.3, 30.4, 29.5, "past the end"),
        ("q:2", "a", "test", 29.7, 30.4, 29.5, "begins after the end"),
        ("q:3", "b", "test", 24.3, 30.4, float("nan"), "unknown duration"),
    )
    clamped = clamp_spans(table, {"a": 29.5})
    assert clamped["clamped_start_sec"].tolist() == [24.3, 29.5, 24.3]
    assert clamped["clamped_end_sec"].tolist() == [29.5, 29.5, 30.4]
    assert clamped["end_sec"].tolist() == [30.4, 30.4, 30.4]
    assert "clamped_end_sec" not in table.columns


def test_clamping_an_empty_table():
    assert clamp_spans(TABLE.iloc[:0], {}).empty


# ceil(n / 10), but at least one of two and never all.
@pytest.mark.parametrize(("n", "held_out"), [(0, 0), (1, 0), (2, 1), (10, 1), (11, 2), (30, 3), (5336, 534)])
def test_a_tenth_of_the_videos_is_held_out(n, held_out):
    assert len(validation_videos(f"v{i}" for i in range(n))) == held_out


def test_the_held_out_videos_do_not_depend_on_order_or_repetition():
    ids = [f"v{i}" for i in range(40)]
    chosen = validation_videos(ids)
    assert validation_videos(ids[::-1] + ids) == chosen
    assert chosen < validation_videos(ids, fraction=0.5) < set(ids)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_that_cannot_be_meant_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        validation_videos(["a", "b"], fraction=fraction)
