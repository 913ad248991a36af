"""CSV of own data: what is read, how it is divided, and what is said of rows that cannot be meant."""

import logging

import pytest

from vmr.annotations.csv_table import read_table
from vmr.annotations.moments import validation_videos
from vmr.annotations.parsed import settle_video_ids
from vmr.annotations.sentences_csv import TEST_SHARE, parse_table
from vmr.errors import AnnotationError

HEADER = "video,start,end,sentence\n"
GOOD = "kitchen01,24.3,30.4,a person opens the fridge.\n"


@pytest.fixture
def parse(tmp_path):
    """Write a CSV and parse it for one split."""

    def parse(content, **options):
        path = tmp_path / "mine.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        parts = parse_table(read_table(path), **({"splits": ["train"]} | options))
        settle_video_ids(parts.values())
        return parts

    return parse


def rows_of(parsed):
    return [(row.key, row.video_id, row.start_sec, row.end_sec, row.sentence) for row in parsed.queries]


def test_commas_quotes_and_line_numbers(parse):
    parsed = parse(HEADER + 'a,1,2,"she says ""no"", and\nleaves"\n\nb,1:02:03.5,1:02:04,über 5" lang\n')["train"]
    assert rows_of(parsed) == [
        ("2", "a", 1.0, 2.0, 'she says "no", and leaves'),
        ("5", "b", 3723.5, 3724.0, 'über 5" lang'),
    ]
    assert parsed.queries[1].where.endswith("mine.csv:5")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            '[["a", 1, 2, "' + "x" * 200_000 + '"]]\n',
            r"mine\.csv: a CSV.*field larger.*begins with \[.*json",
        ),
        ('{"v_1": {"duration": 3}}\n', r"video, start.*not found.*begins with \{.*json"),
        ('{\n "v_1": {"duration": "3\n', r"begins with \{.*json"),
        ("3MSZA 24.3 30.4##a person turns a light on.\n", "has ##: .*charades_sta"),
        ("video;start\u2028a;1\n", "not found in"),
        ("\u00a0\u3000\n", "not found in"),
    ],
    ids=["long JSON", "JSON", "JSON with an open quote", "Charades-STA", "other lines", "blanks only"],
)
def test_other_formats_are_recognized(parse, content, expected):
    with pytest.raises(AnnotationError, match=expected):
        parse(content)


def test_ids_and_durations_where_there_are_columns_of_them(parse):
    rows = "q1,a,0:31,1,2,One.\n,a,31,2,3,Two.\nq1,a,,3,4,Three.\nq2,b,x,3,4,Four.\n"
    parsed = parse("qid,video,duration,start,end,sentence\n" + rows)["train"]
    assert [row.key for row in parsed.queries] == ["q1", "3", "q2"]
    assert parsed.durations == {"a": 31.0}
    assert [problem.where.rpartition(":")[2] for problem in parsed.malformed] == ["4", "5"]
    assert "'q1' was there before" in parsed.malformed[0].reason and "taken as unknown" in parsed.malformed[1].reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a,1,2", "(4) were expected"),
        ("a,1,2,one, two", "stands in quotes"),
        ("a,one,2,Sentence.", "the start 'one' is no time; seconds (83.5), m:ss"),
        ("a,1,,Sentence.", "the end '' is no time"),
        ("a,1,0:75,Sentence.", "the end '0:75' is no time"),
        ("a,1,1:60:00,Sentence.", "'1:60:00' is no time"),
        ('a,1,"2,5,5",Sentence.', "'2,5,5' is no time"),
        (
            "a,one,two,Sentence.",
            "the start 'one' is no time; seconds (83.5), m:ss (1:23.5) or h:mm:ss (0:01:23.5) was "
            "expected; the end 'two'",
        ),
        ("a,00:00:01:12,2,Sentence.", "'00:00:01:12' counts frames; write seconds, or add a column `fps`"),
        ("a,1_0,2,Sentence.", "'1_0' is no time"),
        ("a,nan,2,Sentence.", "'nan' is no time"),
        ("a,1,1e999,Sentence.", "finite"),
        ("a,-1,2,Sentence.", "negative"),
        ("a,1,2, ", "the sentence is empty"),
        ("a,1,2,NaN", "the sentence is 'NaN', as programs write a missing one"),
        (",1,2,Sentence.", "the video is empty"),
        ("a/..,1,2,Sentence.", "the video id 'a/..' cannot name a video"),
    ],
)
def test_rows_that_cannot_be_meant_are_reported_with_file_and_line(parse, tmp_path, row, reason):
    parsed = parse(HEADER + GOOD + row + "\n" + GOOD)["train"]
    (problem,) = parsed.malformed
    assert problem.where == f"{tmp_path / 'mine.csv'}:3" and reason in problem.reason
    assert len(parsed.queries) == 2 and parsed.lines == 3


@pytest.mark.parametrize("last", ['d,1,2,"Four, five."', 'd,1,2,a nail of 4"', 'd,1,2,he says "no"'])
def test_an_open_quote_costs_its_row_and_none_of_those_that_follow(parse, tmp_path, last):
    parsed = parse(HEADER + GOOD + f'b,1,2,"Two\nc,0:01,2,Three.,\n{last}\ne,1,2,Five.\n')["train"]
    (problem,) = parsed.malformed
    assert problem.where == f"{tmp_path / 'mine.csv'}:3" and "not closed before the row of line 4" in problem.reason
    assert [(row.key, row.video_id) for row in parsed.queries] == [
        ("2", "kitchen01"),
        ("4", "c"),
        ("5", "d"),
        ("6", "e"),
    ]
    assert parsed.lines == 5


def test_rows_with_open_quotes_are_counted_one_by_one(parse):
    parsed = parse(HEADER + GOOD + 5 * 'b,1,2,"Two\n' + GOOD)["train"]
    assert len(parsed.malformed) == 5 and parsed.lines == 7 and len(parsed.queries) == 2


def test_a_sentence_over_several_lines_may_hold_commas(parse):
    (query,) = parse(HEADER + 'a,1,2,"One, two, three, four.\nOf, these, many, words\n1, 2, 3"\n')["train"].queries
    assert query.sentence == "One, two, three, four. Of, these, many, words 1, 2, 3"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER, "a header but no rows"),
        (GOOD, r"mine\.csv:1: a header with the columns video, start, end, sentence was expected"),
        ("video,start,end\na,1,2\n", r"sentence not found in 'video, start, end'. `sentence` may also be called query"),
        ("video,start,start_sec,end,text\n", "start and start_sec both mean start"),
        (HEADER + 'a,1,2,"open\nb,1,2\n', r"mine\.csv:2: not a row of a CSV .*quotes"),
        (b"\xd0\xcf\x11\xe0\xa1", "workbook of Excel"),
        (HEADER + "a,x,2,One.\n", r"not one usable row for the split train; .*mine\.csv:2: the start 'x'"),
    ],
)
def test_a_file_that_is_no_such_csv_is_refused(parse, content, message):
    with pytest.raises(AnnotationError, match=message):
        parse(content)


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_rounded_lengths_of_moments_are_no_durations_of_videos(parse, digits):
    times = [(n + 0.37, n + 0.37 + 2.23 + n / 7) for n in range(12)]
    rows = [f"{round(end - start, digits)},a,{start},{end},One.\n" for start, end in times]
    text = "duration," + HEADER + "".join(rows) + "3,a,5,4,A slip.\n"
    parsed = parse(text)["train"]
    assert parsed.durations == {} and not parsed.malformed


def test_the_column_split_divides(parse, caplog):
    text = "split," + HEADER + "Train,a,1,2,One.\ntest,b,1,2,Two.\n,c,1,2,Three.\nval,d,1,2,Four.\ntest,b,4,3,Five.\n"
    parts = parse(text, splits=["train", "test"])
    assert {split: [row.video_id for row in part.queries] for split, part in parts.items()} == {
        "train": ["a"],
        "test": ["b"],
    }
    assert len(parts["test"].degenerate) == 1
    assert "the split is empty" in parts["train"].malformed[0].reason
    assert "1 rows of the split 'val' are left out" in caplog.text
    with pytest.raises(AnnotationError, match=r"no row has 'dev' in the column split; there are: Train, test, val"):
        parse(text, splits=["train", "dev"])


def test_without_the_column_a_fifth_of_the_videos_is_tested(parse, caplog):
    videos = [f"video{number}" for number in range(20)]
    text = HEADER + "".join(f"{video},{start},9,One.\n" for start in (1, 9) for video in videos)
    with caplog.at_level(logging.INFO):
        parts = parse(text, splits=["test", "learn"], train_split="learn")
    named = {split: {row.video_id for row in [*part.queries, *part.degenerate]} for split, part in parts.items()}
    assert named["test"] == validation_videos(videos, fraction=TEST_SHARE) and len(named["test"]) == 4
    assert named["learn"] == set(videos) - named["test"]
    assert [len(parts[split].degenerate) for split in ("test", "learn")] == [4, 16]
    assert "4 of 20 videos, chosen by hash, are test" in caplog.text


@pytest.mark.parametrize(
    ("text", "splits", "message"),
    [
        (HEADER + GOOD, ["train", "test"], "1 video cannot be divided"),
        (HEADER + GOOD, ["train", "val", "test"], "add a column `split`"),
        (HEADER + GOOD, ["val", "test"], "Only train and one other"),
        (
            "set," + HEADER + "train,a,1,2,One.\nTest,b,1,2,Two.\n",
            ["train", "test"],
            "the column set holds Test, train. Call it `split`",
        ),
    ],
)
def test_what_cannot_be_divided_is_said(parse, text, splits, message):
    with pytest.raises(AnnotationError, match=message):
        parse(text, splits=splits)


def test_a_csv_of_unusable_rows_says_what_is_wrong_with_the_first(tmp_path):
    (tmp_path / "a.csv").write_text("video,start,end,sentence\na,0,1,hello, there\nb,0,1,hi, you\n")
    with pytest.raises(AnnotationError, match=r"none of its 2 rows can be used; .*a\.csv:2: .* stands in quotes"):
        parse_table(read_table(tmp_path / "a.csv"), splits=["train", "test"])
