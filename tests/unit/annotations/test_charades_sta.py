import pytest

from vmr.annotations.charades_sta import parse_charades_sta, read_durations
from vmr.errors import AnnotationError

GOOD = b"3MSZA 24.3 30.4##person turn a light on.\n"


def test_a_line_becomes_a_query(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n") + b"\r\nmy clip 0 1e1##  two ## marks \r\n")
    first, second = parse_charades_sta(path).queries
    assert (first.key, first.video_id, first.start_sec, first.end_sec) == ("1", "3MSZA", 24.3, 30.4)
    assert first.sentence == "person turn a light on."
    # The blank line has no query but keeps its number; ids of own videos may contain blanks.
    assert (second.key, second.video_id, second.end_sec, second.sentence) == ("3", "my clip", 10.0, "two ## marks")
    assert parse_charades_sta(path).lines == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"3MSZA 24.3 30.4 person turn a light on.", "`##`"),
        (b"3MSZA 24.3##sentence", "video start end"),
        (b"3MSZA 24,3 30.4##sentence", "'24,3' is not a number"),
        (b"3MSZA 1_0 30.4##sentence", "'1_0' is not a number"),
        (b"3MSZA \xd9\xa1 30.4##sentence", "not a number"),
        (b"3MSZA nan 30.4##sentence", "finite"),
        (b"3MSZA 24.3 inf##sentence", "finite"),
        (b"3MSZA 24.3 1e999##sentence", "finite"),
        (b"3MSZA -1 30.4##sentence", "negative"),
        (b"3MSZA 24.3 30.4## ", "empty"),
        (b"3MSZA 24.3 30.4##\xff\xfe", "undecodable"),
        (b"3MSZA 24.3 30.4##nul \x00 inside", "control"),
    ],
)
def test_malformed_lines_are_reported_with_file_and_line(tmp_path, line, reason):
    path = tmp_path / "train.txt"
    path.write_bytes(GOOD + line + b"\n" + GOOD)
    parsed = parse_charades_sta(path)
    assert len(parsed.queries) == 2 and parsed.lines == 3
    (problem,) = parsed.malformed
    assert problem.where == f"{path}:2"
    assert reason in problem.reason


def test_degenerate_spans_are_set_apart(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(GOOD + b"LEOL6 8.0 7.0##person is holding medicine.\nLEOL6 8.0 8.0##empty.\n")
    parsed = parse_charades_sta(path)
    assert [query.where for query in parsed.degenerate] == [f"{path}:2", f"{path}:3"]
    assert len(parsed.queries) == 1 and not parsed.malformed


@pytest.mark.parametrize("video_id", [b"..", b"a/..", b".", b"a\x00b", b"a\x1bb"])
def test_ids_that_name_no_video_cost_one_line(tmp_path, video_id):
    (tmp_path / "train.txt").write_bytes(GOOD + video_id + b" 1 2##sentence\n")
    (problem,) = parse_charades_sta(tmp_path / "train.txt").malformed
    assert problem.where.endswith("train.txt:2") and problem.reason.startswith("the video id")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b'{"v_1": {}}', "not one line"),
        (b"\x00\x01\x02\xff\xd8", "not one line"),
        (b"\xff\xfe" + "a 1 2##b\n".encode("utf-16-le")[:-1], "UTF-16"),
    ],
)
def test_a_file_in_another_format_is_refused(tmp_path, content, message):
    (tmp_path / "train.txt").write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        parse_charades_sta(tmp_path / "train.txt")


def test_missing_file_and_folder_are_clear_errors(tmp_path):
    with pytest.raises(AnnotationError, match=r"nowhere\.txt: no such"):
        parse_charades_sta(tmp_path / "nowhere.txt")
    with pytest.raises(AnnotationError, match="cannot be read"):
        parse_charades_sta(tmp_path)


def test_durations_need_only_two_columns(tmp_path):
    path = tmp_path / "durations.csv"
    path.write_text('note,length,id\n"a, b",31.0,3MSZA\n,9.5,007\n')
    read = read_durations([path])
    assert read.durations == {"3MSZA": 31.0, "007": 9.5} and not read.malformed


def test_bad_and_contradicting_durations_are_reported(tmp_path):
    path = tmp_path / "durations.csv"
    path.write_text("id,length\na,31.0\na,32.0\nb,\nc,-1\nd,nan\n,5\ne\na,31.0\nf,7\n")
    read = read_durations([path])
    assert read.durations == {"a": 31.0, "f": 7.0}
    assert [problem.where for problem in read.malformed] == [f"{path}:{line}" for line in (3, 4, 5, 6, 7, 8)]
    assert "31.0 kept" in read.malformed[0].reason


def test_durations_without_the_columns_are_refused(tmp_path):
    (tmp_path / "durations.csv").write_text("video,seconds\na,31.0\n")
    with pytest.raises(AnnotationError, match="`id` and `length`"):
        read_durations([tmp_path / "durations.csv"])
