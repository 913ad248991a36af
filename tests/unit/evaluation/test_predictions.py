"""`vmr.evaluation.predictions`: what is read, and what is refused with file and line."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from vmr.errors import EvaluationError
from vmr.evaluation.predictions import parse_predictions, read_predictions
from vmr.evaluation.query_finder import finder_of_moments
from vmr.locate.answers import Answer, Curve, Moment


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


def test_each_fault_is_named_once(tmp_path, moments):
    with pytest.raises(EvaluationError) as caught:
        _read(tmp_path, moments, "{", _line(), *["[]", "[1]"] * 4, *[_line("test:2", spans=[[3, 2]])] * 3000)
    first, second, third = str(caught.value).splitlines()
    assert "predictions.jsonl:1: not a line of JSON" in first and "more" not in first
    assert (
        "predictions.jsonl:3: expected a JSON object, found []. 7 more lines have this fault: 4, 5, 6, 7, 8, ..."
        in second
    )
    assert "predictions.jsonl:11: " in third and "2,999 more lines have this fault: 12, 13, " in third


ANSWERS = [{"query_id": "test:1", "spans": [[0, 1]]}, {"query_id": "test:2", "spans": [[2, 3]]}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ANSWERS),
        json.dumps(ANSWERS, indent=2),
        json.dumps({"version": "1.0", "results": ANSWERS}),
        json.dumps({"test:1": [[0, 1]], "test:2": [2, 3]}),
        json.dumps({"test:1": {"pred_relevant_windows": [[0, 1, 0.5]]}, "test:2": {"spans": [[2, 3]]}}, indent=1),
        json.dumps(
            {
                "results": {
                    "A": [{"sentence": "a dog", "timestamp": [0, 1]}],
                    "B.mp4": [{"query": "a cat", "segment": [2, 3]}],
                }
            }
        ),
        json.dumps(
            {
                "A": {"timestamps": [[0, 1]], "sentences": ["a dog"]},
                "B": {"timestamps": [[2, 3]], "sentences": ["a cat"]},
            }
        ),
        "\n".join(
            json.dumps({"qid": 5, "vid": v, "query": q, "pred_relevant_windows": [[*s, 0.1]]})
            for v, q, s in (("A", "a dog", (0, 1)), ("B", "a cat", (2, 3)))
        ),
        "".join(  # `vmr locate --json`
            json.dumps(Answer(f"films/{v}.mp4", q, 9.0, [Moment(*s, 0.1)], Curve(*[np.zeros(0)] * 2, {})).plain())
            + "\n"
            for v, q, s in (("A", "a dog", (0.0, 1.0)), ("B", "a cat", (2.0, 3.0)))
        ),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_shapes_of_files_hold_the_same_answers(tmp_path, moments, text, packed):
    path = tmp_path / "predictions.json"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    answers = read_predictions(path, moments=moments.assign(sentence=["a dog", "a cat"]))
    assert {name: spans.tolist() for name, spans in answers.items()} == {"test:1": [[0, 1]], "test:2": [[2, 3]]}


def test_a_fault_in_a_list_is_named_by_its_entry(tmp_path, moments):
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps([*ANSWERS, ANSWERS[0], {"query_id": "test:9", "spans": []}]))
    with pytest.raises(
        EvaluationError, match=r"json: entry 3: .*already answered on entry 1(.|\n)*entry 4: .*no query"
    ) as _:
        read_predictions(path, moments=moments)
    path.write_bytes(gzip.compress(b"[]" * 1000)[:-9])
    with pytest.raises(EvaluationError, match="cannot be unpacked"):
        read_predictions(path, moments=moments)


def test_one_span_an_entry_is_put_together_by_sentence_and_ranked(tmp_path, moments):
    spans = [{"sentence": "a dog", "timestamp": [n, n + 1], "score": score} for n, score in ((0, 0.1), (4, 0.9))]
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps({"results": {"A": spans}}))
    answers = read_predictions(path, moments=moments.assign(sentence=["a dog", "a cat"]))
    assert answers["test:1"].tolist() == [[4, 5], [0, 1]]


def test_windows_of_other_systems_keep_their_order_and_are_ranked_for_the_precision(tmp_path, moments):
    windows = [[n, n + 1, score] for n, score in enumerate((0.1, 0.9, 0.9, *[0.5] * 8, 1.0))]
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps({"query_id": "test:1", "pred_relevant_windows": windows}))
    given = parse_predictions(path, finder=finder_of_moments(moments))
    assert given.answers["test:1"][:, 0].tolist() == list(range(12))
    assert given.by_score["test:1"][:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]  # of the first ten
