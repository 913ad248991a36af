"""Tables and records: text stays what it is, and each error names file, kind, what was found and what to do."""

import pytest

from vmr.errors import EvaluationError
from vmr.storage.records import read_record, read_table

HOW = {"what": "table of scores", "again": "Evaluate again.", "error": EvaluationError}


def test_cells_are_text(tmp_path):
    (tmp_path / "t.csv").write_text('video_id,reason,more\n007,null,\nnan,"a,b",1.50\n')
    table = read_table(tmp_path / "t.csv", columns=["video_id", "reason"], **HOW)
    assert table.to_numpy().tolist() == [["007", "null", ""], ["nan", "a,b", "1.50"]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"there is no such table of scores\. Evaluate again"),
        ("", r"this is not a table of scores \(No columns .*\)\. Evaluate again"),
        (b"\xff\xfe\x00", r"this is not a table of scores .*\. Evaluate again"),
        ("a,b\n1,2\n1,2,3\n", r"this is not a table of scores .*saw 3.* Evaluate again"),
        ("a,b\n1,2\n", r"expected a table of scores with the columns a, c; c not found among a, b\. Evaluate again"),
    ],
)
def test_what_is_no_table(tmp_path, content, said):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(EvaluationError, match=rf"t\.csv: {said}"):
        read_table(tmp_path / "t.csv", columns=["a", "c"], **HOW)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(EvaluationError, match=r"was expected, it cannot be read \(Is a directory\)\. Evaluate again"):
        read_table(tmp_path, columns=[], **HOW)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"there is no such record of a run\. Train again"),
        ("{", r"this is not a record of a run \(.*\)\. Train again"),
        ("[1]", r"expected a record of a run, a JSON object; found list\. Train again"),
        ('{"a": 1}', r"expected a record of a run with a, b; b not found\. Train again"),
    ],
)
def test_what_is_no_record(tmp_path, content, said):
    if content is not None:
        (tmp_path / "r.json").write_text(content)
    with pytest.raises(EvaluationError, match=rf"r\.json: {said}"):
        how = {"what": "record of a run", "again": "Train again.", "error": EvaluationError}
        read_record(tmp_path / "r.json", needed=["a", "b"], **how)


def test_a_record(tmp_path):
    (tmp_path / "r.json").write_text('{"a": 1}')
    assert read_record(tmp_path / "r.json", **HOW) == {"a": 1}
