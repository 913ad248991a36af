"""Times that are no seconds: told wherever durations are known, never scored as zero."""

import json
import logging

import pandas as pd
import pytest
from written import parsed

from vmr.annotations.units import odd_times, wrong_unit
from vmr.errors import AnnotationError, EvaluationError
from vmr.evaluation.standalone import evaluate_file

LENGTHS = {"a": 3.0, "b": 30.0, "c": 61.0}
SPANS = [("a", 1.0, 2.0), ("a", 2.0, 3.0), ("b", 12.0, 28.0), ("b", 20.0, 30.0), ("c", 4.0, 55.0), ("c", 50.0, 61.0)]


def table(factor):
    rows = [(str(n), video, start * factor, end * factor) for n, (video, start, end) in enumerate(SPANS)]
    return pd.DataFrame(rows, columns=["query_id", "video_id", "start_sec", "end_sec"])


@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        (1000, "milliseconds"),
        (24, "at about 24 frames"),
        (30, "at about 30 frames"),
        (12, "at about 12 frames"),
        (60, "m:ss that a spreadsheet"),
    ],
)
def test_the_likely_unit_is_named(factor, unit):
    assert "6 moments begin after their video ends" in (reason := wrong_unit(table(factor), LENGTHS))
    assert unit in reason


@pytest.mark.parametrize(("factor", "lengths"), [(1, LENGTHS), (1.5, LENGTHS), (1000, {})])
def test_seconds_and_unknown_lengths_are_left_alone(factor, lengths):
    assert wrong_unit(table(factor), lengths) == ""


def test_times_of_the_whole_video_of_which_these_are_parts_are_no_milliseconds():
    rows = table(1)
    rows[["start_sec", "end_sec"]] += 400.25
    assert odd_times(rows, LENGTHS).endswith("may not be the videos that were annotated")


def test_shares_of_the_video_are_told():
    rows = table(0.015).query("video_id != 'a'")
    assert "all 4 moments end within the first second" in (reason := wrong_unit(rows, LENGTHS))
    assert reason.endswith("the times look like shares of the video")
    assert wrong_unit(rows, {"b": 4.0, "c": 6.0}) == ""


def test_short_videos_and_a_slip_do_not_hide_shares():
    spans = [("a", 0.1, 0.9), *(("c", 0.01 * n, 0.3 + 0.01 * n) for n in range(60)), ("c", 0.5, 1.02)]
    rows = pd.DataFrame(spans, columns=["video_id", "start_sec", "end_sec"])
    assert "61 of 62 moments end within the first second" in wrong_unit(rows, LENGTHS)


@pytest.mark.parametrize("longer", [1, 6])  # percent of videos below and above a hundred seconds
def test_percent_of_the_video_are_told(longer):
    lengths = {name: seconds * longer for name, seconds in LENGTHS.items()}
    rows = pd.concat([table(1)] * 20, ignore_index=True)
    rows[["start_sec", "end_sec"]] *= (100 / rows["video_id"].map(LENGTHS)).to_numpy()[:, None]
    assert wrong_unit(rows, lengths).endswith("look like percent of the video")
    assert wrong_unit(rows.query("end_sec < 95"), {name: 900.0 for name in lengths}) == ""


def parse(tmp_path, **options):
    rows = "".join(f"{v},{int(s * 1000)},{int(e * 1000)},A man walks.\n" for v, s, e in SPANS)
    (tmp_path / "a.csv").write_text("video,start,end,sentence\n" + rows)
    factor = options.pop("lengths_times", 1)
    (tmp_path / "lengths.csv").write_text(
        "id,length\n" + "".join(f"{v}.mp4,{s * factor}\n" for v, s in LENGTHS.items())
    )
    parsed(tmp_path, {"train": [tmp_path / "a.csv"]}, annotation_format="csv", **options)


def test_parsing_stops_unless_told_otherwise(tmp_path, caplog):
    lengths = [tmp_path / "lengths.csv"]
    with pytest.raises(AnnotationError, match=r"all 6 moments begin after .*look like milliseconds.*--accept-wrong"):
        parse(tmp_path, durations=lengths)
    parse(tmp_path, durations=lengths, accept_wrong=True)
    assert "look like milliseconds" in caplog.text


@pytest.mark.parametrize("durations", [[], ["lengths.csv"]])
def test_without_durations_or_with_some_in_the_same_unit_it_warns(tmp_path, caplog, durations):
    with caplog.at_level(logging.WARNING):
        parse(tmp_path, durations=[tmp_path / name for name in durations], lengths_times=1000)
    assert "are they milliseconds or frame numbers?" in caplog.text


def score(tmp_path, answers, *, factor=1, durations=()):
    """Evaluate spans as answers to `SPANS` times a factor."""
    told = [(v, f"A man walks {s}.", s * factor, e * factor) for v, s, e in SPANS]
    (tmp_path / "a.txt").write_text("".join(f"{v} {s} {e}##{sentence}\n" for v, sentence, s, e in told))
    records = [
        {"video_id": v, "sentence": sentence, "spans": [own]}
        for (v, sentence, _, _), own in zip(told, answers, strict=True)
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, records)))
    evaluate_file(predictions=tmp_path / "p.jsonl", annotations=[str(tmp_path / "a.txt")], durations=list(durations))


@pytest.mark.parametrize("durations", [[], ["lengths.csv"]])
def test_nothing_is_scored_as_zero_for_its_unit(tmp_path, durations):
    (tmp_path / "lengths.csv").write_text("id,length\n" + "".join(f"{v},{s}\n" for v, s in LENGTHS.items()))
    with pytest.raises(EvaluationError, match="milliseconds"):
        score(tmp_path, [own[1:] for own in SPANS], factor=1000, durations=[tmp_path / name for name in durations])


@pytest.mark.parametrize(
    ("factor", "message"),
    [(1000, "divided by 1000 .*times milliseconds"), (25, "times frame numbers"), (1 / 61, "shares of the video")],
)
def test_answers_in_another_unit_are_refused_though_one_is_early(tmp_path, factor, message):
    spans = [(s * factor, e * factor) for _, s, e in SPANS[:-1]] + [(0.0, min(60.0, 61 * factor))]
    with pytest.raises(EvaluationError, match=message):
        score(tmp_path, spans)
