"""`vmr.evaluation.predictions`: what is read, and what is refused with file and line."""

import json

import pandas as pd
import pytest

from vmr.errors import EvaluationError
from vmr.evaluation.predictions import read_predictions


@pytest.fixture
def moments():
    return pd.DataFrame({"query_id": ["test:1", "test:2"], "video_id": ["A", "B"], "split": ["test", "test"]})


def _read(tmp_path, moments, *lines):
    path = tmp_path / "predictions.jsonl"
    text = [line if isinstance(line, bytes) else line.encode() for line in lines]
    path.write_bytes(b"\n".join(text) + b"\n")
    return read_predictions(path, moments=moments)


def _line(query_id="test:1", spans=((0, 1, 0.5),), **more):
    return json.dumps({"query_id": query_id, "spans": spans, **more})


def test_spans_come_back_in_order(tmp_path, moments):
    spans = [[-1, 400, -5], [1, 2.5, 0.9], [3, 3, 0.9]]
    answers = _read(tmp_path, moments, _line(spans=spans, video_id="A", split="test"), "", _line("test:2", spans=[]))
    # Ranked by score; of equal ones the first in the file comes first.
    assert answers["test:1"].tolist() == [[1, 2.5], [3, 3], [-1, 400]]
    assert answers["test:2"].shape == (0, 2)


def test_spans_without_scores_keep_their_order(tmp_path, moments):
    answers = _read(tmp_path, moments, _line(spans=[[5, 6], [1, 2], [3, 4]]))
    assert answers["test:1"].tolist() == [[5, 6], [1, 2], [3, 4]]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path, moments):
    assert len(_read(tmp_path, moments, b"\xef\xbb\xbf" + _line().encode() + b"\r", _line("test:2") + "\r", "\r")) == 2


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path, moments):
    assert list(_read(tmp_path, moments, '{"query_id": "test:1", "spans": [], "note": "a\u2028b"}')) == ["test:1"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not a line of JSON"),
        (b'{"query_id": "\xff"}', "not a line of JSON"),
        ("[" * 100_000, "not a line of JSON"),
        ("[1]", "expected a JSON object"),
        ('{"spans": []}', '"query_id"'),
        ('{"query_id": true, "spans": []}', '"query_id"'),
        ('{"query_id": 1, "spans": []}', "no query 1"),
        ('{"video_id": "B", "spans": []}', '"sentence" beside "video_id"'),
        ('{"video_id": "B", "index": 1, "spans": []}', 'no query with the index 1 of video "B"'),
        (_line("test:9"), 'no query "test:9"'),
        (_line("test:1"), "already answered on line 1"),
        (_line("test:2", video_id="A"), "video_id"),
        (_line("test:2", split="train"), "split"),
        ('{"query_id": "test:2"}', '"spans"'),
        (_line("test:2", spans=[[0]]), "span 1"),
        (_line("test:2", spans=[[0, 1, 1, 1]]), "span 1"),
        (_line("test:2", spans=[0, 1]), "span 1"),
        (_line("test:2", spans=[[0, 1], [0, 1, 1]]), "a score to all spans of a line or to none"),
        (_line("test:2", spans=[[0, 1, True]]), "finite"),
        (_line("test:2", spans=[[0, "1", 1]]), "finite"),
        (_line("test:2", spans=[[0, float("nan"), 1]]), "finite"),
        (_line("test:2", spans=[[0, 1, float("inf")]]), "finite"),
        (_line("test:2", spans=[[0, 10**400, 1]]), "finite"),
        (_line("test:2", spans=[[0, 1, 1], [2, 1.5, 1]]), "span 2 starts at 2.0 s"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_with_its_number(tmp_path, moments, line, said):
    with pytest.raises(EvaluationError, match=r"predictions\.jsonl:2: ") as caught:
        _read(tmp_path, moments, _line(), line)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


def test_several_bad_lines_are_named_together(tmp_path, moments):
    with pytest.raises(EvaluationError) as caught:
        _read(tmp_path, moments, "{", _line(), *["[]"] * 8)
    text = str(caught.value)
    assert [f"predictions.jsonl:{number}: " in text for number in (1, 2, 3, 6, 7)] == [True, False, True, True, False]
    assert "4 more lines" in text


def test_a_missing_file_is_named(tmp_path, moments):
    with pytest.raises(EvaluationError, match=r"gone\.jsonl"):
        read_predictions(tmp_path / "gone.jsonl", moments=moments)
