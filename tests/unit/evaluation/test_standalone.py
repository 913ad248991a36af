"""`vmr evaluate`: predictions of any system against annotation files, checked against the slow reference."""

import json
from unittest import mock

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from reference import evaluation_reference as reference
from typer.testing import CliRunner

from vmr.cli import app
from vmr.errors import EvaluationError
from vmr.evaluation.standalone import evaluate_file

# Half seconds: sums of such numbers are exact in floating point, so that ties are ties for both. Spans may be
# without length, begin before the video and end after it.
seconds = st.integers(-4, 50).map(lambda value: value / 2)
spans = st.tuples(seconds, seconds).map(sorted)
truths = st.tuples(st.integers(0, 30), st.integers(1, 30)).map(lambda pair: [pair[0] / 2, sum(pair) / 2])
scores = st.integers(0, 3).map(lambda value: value / 4)  # few values: many ties
answers = st.one_of(
    st.lists(spans, max_size=7),
    st.lists(st.tuples(spans, scores).map(lambda pair: [*pair[0], pair[1]]), max_size=7),
)
bad_spans = st.sampled_from(
    [[[3, 2]], [[0, 1], [0, 1, 0.5]], [[0, float("nan"), 1]], [[0, 1, float("inf")]], [["0", 1]], [[1]], "none", None]
)


def _scored(folder, predictions, *annotations, **more):
    """The record of an evaluation of files in a folder, or of others by their whole path."""
    files = [str(folder / name) for name in annotations]
    evaluate_file(predictions=folder / predictions, annotations=files, output=folder / "scores.json", **more)
    return json.loads((folder / "scores.json").read_text())


# Drawn moments lie anywhere, as times in another unit do, which are refused (tests/unit/annotations/test_units.py).
@mock.patch("vmr.evaluation.ground_truth.wrong_unit", new=lambda *_: "")
@mock.patch("vmr.evaluation.plausible._refuse_other_unit", new=lambda *_: None)
# Below the patches, which would hide it from hypothesis.
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    videos=st.lists(st.tuples(st.integers(2, 40), st.lists(truths, min_size=1, max_size=3)), min_size=1, max_size=5),
    data=st.data(),
)
def test_scores_and_counts_equal_the_reference(tmp_path, videos, data):
    queries = [
        {"id": f"test:v{i}:{j}", "span": moment, "duration": half_seconds / 2}
        for i, (half_seconds, moments) in enumerate(videos)
        for j, moment in enumerate(moments)
    ]
    captions = {
        f"v{i}": {"duration": half_seconds / 2, "timestamps": moments, "sentences": ["x"] * len(moments)}
        for i, (half_seconds, moments) in enumerate(videos)
    }
    ids = st.sampled_from([own["id"] for own in queries])
    record = st.one_of(
        st.fixed_dictionaries({"query_id": ids, "spans": answers}),
        st.fixed_dictionaries({"query_id": ids, "spans": bad_spans}),
        st.just({"query_id": "test:v9:0", "spans": []}),
    )
    lines = data.draw(st.lists(st.one_of(record.map(json.dumps), st.sampled_from(["", "{", "[1]"])), max_size=12))
    assume(any(lines))  # an empty file is refused
    (tmp_path / "test.json").write_text(json.dumps(captions))
    (tmp_path / "predictions.jsonl").write_text("\n".join(lines))
    found = _scored(tmp_path, "predictions.jsonl", "test.json", skip_bad_lines=True, resamples=100)
    expected, counts = reference.read_answers(lines, {own["id"] for own in queries})
    for truth in ("raw", "clamped"):
        known = {name: value for name, value in found["scores"][truth].items() if not name.startswith("mAP")}
        assert known == pytest.approx(reference.score(queries, expected, clamped=truth == "clamped"), abs=1e-9)
    assert {name: found[name] for name in counts} == counts
    assert (found["answered"], found["missing"]) == (len(expected), len(queries) - len(expected))
    assert found["coverage"] == pytest.approx(100 * len(expected) / len(queries))


@pytest.fixture
def charades(tmp_path):
    """Three queries in two videos; the moment of the third is without length."""
    (tmp_path / "test.txt").write_text(
        "AAAAA 0 10##a person sits.\nBBBBB 0 4##a dog runs.\nBBBBB 2 2##a dog barks.\nBBBBB 4 8##a dog sleeps.\n"
    )
    return tmp_path


def _run(folder, lines, *options):
    (folder / "predictions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = ["evaluate", folder / "predictions.jsonl", "--annotations", folder / "test.txt", *options]
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_command_line_prints_and_writes_the_scores(charades):
    lines = [
        {"query_id": 1, "spans": [[0, 5, 0.2], [0, 10, 0.9]]},
        {"video_id": "BBBBB", "query": "A dog runs", "spans": [[8, 9], [0, 2]]},
        {"video_id": "BBBBB", "index": 1, "spans": [[2, 2]]},
    ]
    result = _run(charades, lines, "--json", charades / "scores.json")
    assert result.exit_code == 0, result.output
    scores = json.loads((charades / "scores.json").read_text())
    # One of three is right; the second one's second span reaches 0.5; the fourth line is not answered.
    assert scores["scores"]["raw"] == pytest.approx(
        {"mIoU": 100 / 3, "R@1,IoU=0.3": 100 / 3, "R@1,IoU=0.5": 100 / 3, "R@1,IoU=0.7": 100 / 3}
        | {"R@5,IoU=0.3": 200 / 3, "R@5,IoU=0.5": 200 / 3, "R@5,IoU=0.7": 100 / 3}
        # The first is found by its first span; the second by its second one, of IoU 0.5.
        | {"mAP@0.5": 50, "mAP@0.75": 100 / 3, "mAP": (50 + 9 * 100 / 3) / 10}
    )
    assert (scores["queries"], scores["answered"], scores["missing"], scores["not_scored"]) == (3, 2, 1, 1)
    # aa, ab, bb: 100, 1 of 3, 0.
    assert scores["confidence"]["raw"]["mIoU"] == [0, 100]
    row = next(line for line in result.output.splitlines() if line.startswith("R@5 IoU=0.5"))
    assert row.split()[2] == "66.67" and "\nmAP@0.75 " in result.output
    assert "answered   2 in 2 videos, coverage 66.67 %" in result.output
    assert "missing    1, counted as wrong" in result.output
    assert "1 answers to moments that end where they start" in result.output
    assert "clamped" not in result.output  # no duration is known


def test_a_seed_that_cannot_be_is_refused(charades):
    result = _run(charades, [{"query_id": 1, "spans": [[0, 5]]}], "--seed", -1)
    assert result.exit_code == 2
    assert "--seed" in result.output


def test_durations_bring_clamped_truth(charades):
    (charades / "durations.csv").write_text("id,length\nAAAAA,5.0\n")
    result = _run(charades, [{"query_id": 1, "spans": [[0, 5]]}], "--durations", charades / "durations.csv")
    line = next(line for line in result.output.splitlines() if line.startswith("mIoU"))
    # IoU 0.5 of three queries, 1 where the moment is cut to 5 s.
    assert [line.split()[1], line.split("]")[1].split()[0]] == ["16.67", "33.33"]
    assert "2 queries of videos of unknown duration are as annotated" in result.output


def test_what_of_the_annotations_cannot_be_used_is_told(charades, caplog):
    with (charades / "test.txt").open("a") as file:
        file.write("CCCCC 0 x##a cat sits.\nDDDDD 0 4#a cat runs.\n")
    (charades / "durations.csv").write_text("id,length\nAAAAA,abc\nBBBBB,8.0\n")
    result = _run(charades, [{"query_id": 1, "spans": [[0, 10]]}], "--durations", charades / "durations.csv")
    assert result.exit_code == 0
    for count, what in (
        (2, "malformed entries of the annotations"),
        (1, "moments that end where they start, or before"),
        (1, "rows of durations that cannot be used"),
    ):
        assert f"left out   {count} {what}\n" in result.output
    for where in ("test.txt:5: left out: ", "test.txt:6: left out: ", "durations.csv:2: left out: "):
        assert where in caplog.text


def test_one_video_has_no_intervals_and_the_text_says_why(charades):
    (charades / "test.txt").write_text("AAAAA 0 10##a person sits.\n")
    result = _run(charades, [{"query_id": 1, "spans": [[0, 10]]}])
    assert "No intervals: they need the scores of at least two videos." in result.output
    assert "left out" not in result.output


def test_bad_lines_are_refused_or_counted(charades):
    lines = [
        {"query_id": 1, "spans": [[0, 10]]},
        {"query_id": 1, "spans": [[5, 6]]},
        {"query_id": 2, "spans": [[4, 0]]},
        {"query_id": 9, "spans": []},
    ]
    refused = _run(charades, lines)
    assert refused.exit_code == 1
    for number, reason in ((2, "already answered on line 1"), (3, "after its end"), (4, "no query 9")):
        assert f"predictions.jsonl:{number}: " in refused.output
        assert reason in refused.output
    counted = _run(charades, lines, "--skip-bad-lines")
    assert counted.exit_code == 0
    assert "bad lines  1 malformed, 1 duplicate, 1 of unknown or unclear queries" in counted.output
    assert "missing    2, counted as wrong" in counted.output
    assert "33.33" in counted.output  # the first answer to query 1 counts


def test_answers_to_other_splits_are_left_aside(charades):
    other = charades / "other.txt"
    other.write_text("CCCCC 0 4##a cat.\n")
    lines = [{"query_id": "test:1", "spans": [[0, 10]]}, {"query_id": "other:1", "spans": [[0, 4]]}]
    result = _run(charades, lines, "--annotations", other, "--splits", "test")
    assert "left aside 1 answers to queries of other splits" in result.output
    assert "queries    3 in 2 videos" in result.output


def test_the_same_input_gives_the_same_text(charades):
    (charades / "predictions.jsonl").write_text('{"query_id": "1", "spans": [[0, 10]]}')
    arguments = {"predictions": charades / "predictions.jsonl", "annotations": [str(charades / "test.txt")]}
    assert evaluate_file(**arguments) == evaluate_file(**arguments)
    with pytest.raises(EvaluationError, match=r"gone\.jsonl: the predictions cannot be read"):
        evaluate_file(**arguments | {"predictions": charades / "gone.jsonl"})


def test_the_constant_window_of_charades_gives_the_published_figures(shared_data, tmp_path):
    folder = shared_data / "charades_sta"
    durations = {}
    for line in (folder / "Charades_v1_test.csv").read_text().splitlines()[1:]:
        durations[line.split(",")[0]] = float(line.rsplit(",", 1)[1])
    with (tmp_path / "predictions.jsonl").open("w") as file:
        for number, line in enumerate((folder / "charades_sta_test.txt").read_text().splitlines(), start=1):
            head, sentence = line.split("##", 1)
            video_id = head.split()[0]
            # Half of the lines by number, half by sentence: each sentence is in its video once.
            name = {"query_id": number} if number % 2 else {"video_id": video_id, "sentence": sentence.rstrip(".")}
            file.write(json.dumps(name | {"spans": [[0, 0.3 * durations[video_id]]]}) + "\n")
    found = _scored(tmp_path, "predictions.jsonl", folder / "charades_sta_test.txt")
    # ../shared/reference/published.md: Charades-STA test, constant window [0, 0.30].
    names = ("R@1,IoU=0.3", "R@1,IoU=0.5", "R@1,IoU=0.7", "mIoU")
    assert [round(found["scores"]["raw"][name], 2) for name in names] == [40.30, 30.65, 15.16, 28.07]
    assert (found["queries"], found["videos"], found["coverage"]) == (3720, 1334, 100)


@pytest.mark.parametrize("threshold_tie", [((2.3, 6.6), (2.5, 10.5), 0.5), ((0.1, 0.7), (0.1, 1.3), 0.5)])
def test_a_span_exactly_at_the_threshold_is_a_hit(tmp_path, threshold_tie):
    # Decimals tie exactly: 4.1 of 8.2 s. With the sum of lengths as the union the first is one digit below one half.
    truth, span, threshold = threshold_tie
    (tmp_path / "test.txt").write_text(f"AAAAA {truth[0]} {truth[1]}##a dog.\n")
    _run(tmp_path, [{"query_id": 1, "spans": [span]}], "--json", tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text())["scores"]["raw"][f"R@1,IoU={threshold}"] == 100


@pytest.mark.parametrize("beside", [{}, {"query": None}, {"vid": None}])
def test_ids_counted_from_zero_are_refused_even_where_bad_lines_are_skipped(tmp_path, beside):
    sentences = [("AAAAA", "a dog."), ("BBBBB", "a cat."), ("CCCCC", "a cow.")]
    (tmp_path / "test.txt").write_text("".join(f"{video} 0 {n + 4}##{s}\n" for n, (video, s) in enumerate(sentences)))
    told = [{"query": sentence, "vid": video} for video, sentence in sentences]
    lines = [{"query_id": n, "spans": [[0, 5]]} | {key: own[key] for key in beside} for n, own in enumerate(told)]
    result = _run(tmp_path, lines, "--skip-bad-lines")
    assert result.exit_code == 1
    assert "numbered from 1 to 3" in result.output
    if beside:
        assert (
            "predictions.jsonl:2: query 1 " in result.output and "here. 1 more line has this fault: 3." in result.output
        )


def test_windows_that_are_not_in_the_order_of_their_scores_are_told(charades, caplog):
    line = {"query_id": 1, "pred_relevant_windows": [[50, 60, 0.1], [0, 10, 0.9]]}
    _run(charades, [line], "--json", charades / "scores.json")
    scores = json.loads((charades / "scores.json").read_text())["scores"]["raw"]
    assert (scores["R@1,IoU=0.5"], scores["mAP"]) == (0, pytest.approx(100 / 3))
    assert "1 answers are not in the order of their scores" in caplog.text


@pytest.mark.parametrize("also", [False, True])
def test_several_windows_of_a_query_are_scored_as_its_evaluators_do(tmp_path, also):
    vid = "NUsG9BgSes0_210.0_360.0"
    sentences = ("A girl and her mother cooked.", "A woman takes food photos.")
    told = [
        {"qid": qid, "query": query, "duration": 150, "vid": vid, "relevant_windows": windows, "relevant_clip_ids": [1]}
        for qid, query, windows in ((2579, sentences[0], [[0, 36], [40, 54]]), (1251, sentences[1], [[20, 24]]))
    ]
    (tmp_path / "val.jsonl").write_text("\n".join(map(json.dumps, told)))
    (tmp_path / "test.txt").write_text("AAAAA 0 10##a person sits.\n")
    windows = {2579: [[40, 54, 0.92], [0, 34, 0.5], [60, 80, 0.1]], 1251: [[0, 10, 0.9], [20, 24, 0.2]]}
    lines = [
        {"qid": qid, "query": query, "vid": vid, "pred_relevant_windows": windows[qid]}
        for qid, query in zip(windows, sentences, strict=True)
    ]
    (tmp_path / "submission.jsonl").write_text("\n".join(map(json.dumps, lines)))
    files = ["val.jsonl", *(["test.txt"] if also else [])]
    scores = _scored(tmp_path, "submission.jsonl", *files, splits=["val"])["scores"]
    # The first is found by its shorter window, then by the other one with 34/36; the second by its second span.
    expected = reference.retrieval_scores(windows, {own["qid"]: own["relevant_windows"] for own in told})
    for truth in ("raw", "clamped"):
        assert {name: scores[truth][name] for name in expected} == pytest.approx(expected)
    assert (expected["R@1,IoU=0.7"], expected["mAP@0.5"]) == (50, 75)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n", "is empty; a line for each answer was expected"),
        ("a 0 1##x.\n", "is lines as of Charades-STA; JSON lines were expected"),
        ("video,start,end,sentence\na,0,1,x.\n", "is a CSV; JSON lines were expected"),
        ("PAR1", "is a Parquet file; JSON lines were expected"),
        ('{"video": "a", "query": "x.", "answer": "From 0 to 1 s."}\n', "found the keys video, query, answer"),
    ],
)
def test_what_is_no_file_of_predictions_is_named_once(tmp_path, content, message):
    (tmp_path / "truth.txt").write_text("a 0 1##x.\n")
    (tmp_path / "given").write_text(content)
    with pytest.raises(EvaluationError, match=message):
        evaluate_file(predictions=tmp_path / "given", annotations=[str(tmp_path / "truth.txt")])


def test_one_span_of_an_answer_may_stand_alone(tmp_path):
    (tmp_path / "truth.txt").write_text("a 0 2##x.\nb 1 2##y.\n")
    answers = [
        {"video": "a", "query": "x.", "start": 0, "end": 1, "score": 0.5},
        {"video": "b", "query": "y.", "segment": [1, 2]},
    ]
    (tmp_path / "given").write_text("\n".join(map(json.dumps, answers)))
    # The IoUs are 1/2 and 1.
    found = _scored(tmp_path, "given", "truth.txt", resamples=10)
    assert found["scores"]["raw"]["mIoU"] == pytest.approx(75)
