import json

import pytest

from vmr.annotations.json_files import parse_json
from vmr.errors import AnnotationError


def parse_captions(path):
    (parsed,) = parse_json(path).values()
    return parsed


GOOD = {"duration": 55.15, "timestamps": [[0, 4.14], [4.14, 33.36]], "sentences": ["Two men.", " One\nman "]}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_captions_become_queries(tmp_path):
    parsed = parse_captions(write(tmp_path / "train.json", {"v_1": GOOD}))
    assert [query.key for query in parsed.queries] == ["v_1:0", "v_1:1"]
    assert [query.sentence for query in parsed.queries] == ["Two men.", "One man"]
    assert (parsed.queries[1].start_sec, parsed.queries[1].end_sec) == (4.14, 33.36)
    assert parsed.durations == {"v_1": 55.15} and parsed.lines == 2


@pytest.mark.parametrize(
    ("entry", "kept", "reason"),
    [
        (7, 0, "object"),
        ({"sentences": []}, 0, "lists"),
        (GOOD | {"sentences": ["only one"]}, 0, "2 timestamps but 1 sentences"),
        (GOOD | {"timestamps": [[0, 1], [1, float("nan")]]}, 1, "start, end"),
        (GOOD | {"timestamps": [[0, 1], [1, float("inf")]]}, 1, "start, end"),
        (GOOD | {"timestamps": [[0, 1], [1, 10**400]]}, 1, "start, end"),
        (GOOD | {"timestamps": [[0, 1], ["1", "late"]]}, 1, "'late' is no time"),
        (GOOD | {"timestamps": [[0, 1], [False, True]]}, 1, "start, end"),
        (GOOD | {"timestamps": [[0, 1], [1]]}, 1, "start, end"),
        (GOOD | {"timestamps": [[0, 1], [-1, 2]]}, 1, "negative"),
        (GOOD | {"sentences": ["fine", ""]}, 1, "empty"),
        (GOOD | {"sentences": ["fine", None]}, 1, "NoneType"),
        (GOOD | {"sentences": ["fine", "half \ud800 pair"]}, 1, "undecodable"),
        (GOOD | {"duration": -3}, 2, "duration"),
        (GOOD | {"duration": "long"}, 2, "duration"),
    ],
)
def test_malformed_captions_are_reported_with_file_and_video(tmp_path, entry, kept, reason):
    path = write(tmp_path / "train.json", {"v_1": GOOD, "v_2": entry})
    parsed = parse_captions(path)
    (problem,) = parsed.malformed
    assert problem.where.startswith(f"{path}: v_2") and reason in problem.reason
    assert sum(query.video_id == "v_2" for query in parsed.queries) == kept
    assert sum(query.video_id == "v_1" for query in parsed.queries) == 2


def test_an_absent_duration_is_no_problem(tmp_path):
    entry = {name: value for name, value in GOOD.items() if name != "duration"}
    parsed = parse_captions(write(tmp_path / "train.json", {"v_1": entry}))
    assert parsed.durations == {} and not parsed.malformed and len(parsed.queries) == 2


def test_a_repeated_video_is_reported(tmp_path):
    text = json.dumps(GOOD)
    (tmp_path / "train.json").write_text(f'{{"v_1": {text}, "v_1": {text}}}')
    parsed = parse_captions(tmp_path / "train.json")
    assert "twice" in parsed.malformed[0].reason and len(parsed.queries) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested more than 100 deep"),
        ("{}", "not one sentence with a video and times"),
        ('{"version": "1.3", "database": {}}', "not one sentence"),
    ],
)
def test_a_file_in_another_format_is_refused(tmp_path, text, message):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(AnnotationError, match=message):
        parse_captions(tmp_path / "train.json")
