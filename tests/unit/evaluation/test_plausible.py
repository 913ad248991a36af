"""Answers that cannot be meant for the moments: rows counted instead of lines, and times that are no seconds."""

import json

import pytest

from vmr.errors import EvaluationError
from vmr.evaluation.compare import compare
from vmr.evaluation.standalone import evaluate_file

# Twelve training rows and twelve tested ones of videos of 30 to 41 s; the moments are apart, so that neighbours differ.
MOMENTS = [(f"v{n}", 7 + n * 5 % 14, 10 + n * 5 % 14, 30 + n % 12, "train" if n < 12 else "test") for n in range(24)]


def _files(folder, spans, *, sentence="he runs", ids=range(14, 26)):
    rows = (f'{video},{start},{end},{length},"{sentence}",{split}' for video, start, end, length, split in MOMENTS)
    (folder / "own.csv").write_text("\n".join(["video,start,end,duration,sentence,split", *rows]))
    lines = [json.dumps({"query_id": own, "spans": [span]}) for own, span in zip(ids, spans, strict=False)]
    (folder / "predictions.jsonl").write_text("\n".join(lines))
    return {"annotations": [str(folder / "own.csv")], "splits": ["test"]}


def _score(folder, spans, **options):
    return evaluate_file(predictions=folder / "predictions.jsonl", **_files(folder, spans, **options))


TESTED = [(start, end, length) for _, start, end, length, split in MOMENTS if split == "test"]


@pytest.mark.parametrize(
    ("ids", "how"),
    [
        (range(12, 24), "rows without the header, from 0"),
        (range(13, 25), "rows without the header, from 1"),
        (range(12, 20), "rows without the header, from 0"),
    ],
)
def test_numbers_of_rows_are_not_taken_for_those_of_lines(tmp_path, ids, how):
    spans = [[start, end] for start, end, _ in TESTED]
    with pytest.raises(EvaluationError, match=f"answers are to queries of other splits. Counted as {how}"):
        _score(tmp_path, spans, ids=ids)
    with pytest.raises(EvaluationError, match=how):  # nor where two are compared
        compare(tmp_path / "predictions.jsonl", tmp_path / "predictions.jsonl", **_files(tmp_path, spans, ids=ids))


def test_line_breaks_within_sentences_shift_the_lines_of_what_follows(tmp_path):
    spans = [[start, end] for start, end, _ in TESTED]
    # Each row has two lines, so that the even numbers are those of rows twice as far above.
    with pytest.raises(EvaluationError, match="Counted as rows"):
        _score(tmp_path, spans, sentence="he runs\nand falls", ids=range(14, 26, 2))


def test_answers_to_all_splits_are_scored(tmp_path):
    spans = [[start, end] for _, start, end, _, _ in MOMENTS]
    text = _score(tmp_path, spans, ids=range(2, 26))
    assert "left aside 12 answers" in text and "missing    0" in text


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (lambda start, end, length: [start * 25, end * 25], "frame numbers"),
        (lambda start, end, length: [start * 3, end * 3], "steps or clips of 0.333 s"),
        (lambda start, end, length: [start / 2, end / 2], "steps or clips of 2 s"),
        (lambda start, end, length: [start / length, end / length + 0.03], "shares of the video"),
        (lambda start, end, length: [100 * start / length, 100 * end / length], "percent of the video"),
    ],
)
def test_times_of_another_unit_are_refused_with_the_likely_one(tmp_path, times, unit):
    # A few answers miss, as answers do, so that not every one is so many times too long.
    spans = [[0.5, 18.0] if n in (3, 9) else times(*own) for n, own in enumerate(TESTED)]
    with pytest.raises(EvaluationError, match=f"Are the times {unit}"):
        _score(tmp_path, spans)


def test_answers_that_are_merely_wrong_are_scored(tmp_path):
    assert "coverage 100.00 %" in _score(tmp_path, [[start + 6.0, end + 6.0] for start, end, _ in TESTED])
    assert "coverage 100.00 %" in _score(tmp_path, [[0.0, 3.0]] * 12)
