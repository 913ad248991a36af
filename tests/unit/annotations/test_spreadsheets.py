"""CSV files as spreadsheets and tools write them: Excel, Google Sheets, ELAN."""

import pytest

from vmr.annotations.columns import parse_time
from vmr.annotations.csv_table import read_table
from vmr.annotations.parsed import settle_video_ids
from vmr.annotations.sentences_csv import parse_table
from vmr.errors import AnnotationError

HEAD = "video,start,end,sentence\r\n"


def read(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    parts = parse_table(read_table(tmp_path / "a.csv"), splits=["train"])
    settle_video_ids(parts.values())
    return parts["train"]


@pytest.mark.parametrize(
    "content",
    [
        'sep=;\r\nvideo;start;end;sentence\r\na.mp4;0,5;1,5;"A man; walks."\r\n',
        HEAD + 'a,"0,5","1,5",A man; walks.\r\n',
        HEAD + 'a.mp4,"00:00:00,500","00:00:01,500",A man; walks.\r\n',
        HEAD + "a,0.5,1.5,A man; walks.,,\r\n",
        "video,start,end,sentence,,\r\na,0.5,1.5,A man; walks.,,\r\n",
        (HEAD + "a,0.5,1.5,A man; walks.\r\n").encode("utf-16"),
        "Video Name,Start Time (s),End Time (s),Description\r\na,0.5,1.5,A man; walks.\r\n",
        "video,start_ms,end [ms],sentence\r\na,500,1500,A man; walks.\r\n",
        "video,start_frame,end_frame,fps,sentence\r\na,12,36,24,A man; walks.\r\n",
        "video,start,end,fps,sentence\r\na,00:00:00:12,00:00:01:12,24,A man; walks.\r\n",
        HEAD + "a,0.5 s,1.5sec,A man; walks.\r\n",
        "Tier\tBegin Time - hh:mm:ss.ms\tBegin Time - ss.msec\tEnd Time - hh:mm:ss.ms\tEnd Time - ss.msec\tAnnotation\t"
        "File Name\r\nx\t00:00:00.500\t0.5\t00:00:01.500\t1.5\tA man; walks.\ta.mp4\r\n",
        "Begin Time - ss.msec\tEnd Time - ss.msec\tDuration - ss.msec\tAnnotation\tFile Name\r\n"
        "0.5\t1.5\t1.0\tA man; walks.\ta.eaf\r\n",
        "Media file,FPS,Behavior,Start (s),Stop (s),Duration (s)\r\n/home/me/a.mp4,25,A man; walks.,0.5,1.5,1.0\r\n",
        HEAD + "a,0.5\u00a0s,\u00a01.5,A man; walks.\r\n",
        HEAD + "C:\\films\\a.MP4,0.5,1.5,A man; walks.\r\n",
        HEAD + "https://www.youtube.com/watch?v=a&t=5s,0.5,1.5,A man; walks.\r\n",
        "'video','start','end','sentence'\r\n'a',0.5,1.5,'A man; walks.'\r\n",
        "My sentences,,,\r\n,,,\r\n" + HEAD + "a,0.5,1.5,A man; walks.\r\n",
        "sep=,\r\n# of Monday\r\n" + HEAD + "a,0.5,1.5,A man; walks.\r\n",
        b"\xef\xbb\xbf" + (HEAD + "a,0.5,1.5,A man; walks.\r\n").encode(),
        "file name\tstart time\tend time\tquery\na.MP4\t0:00.5\t0:00:01.5\tA man;   walks.\n",
        'note, text, to, from, clip\nx, "A man;\nwalks.", 1.5, 0.5, a.mkv\n',
        "video,start,end,sentence,\na,0.5,1.5,A man; walks.,\n,,,,\n",
    ],
    ids=["sep", "decimal commas", "SubRip", "surplus cells", "surplus columns", "UTF-16", "units", "milliseconds",
         "frames", "timecode", "words", "ELAN", "ELAN's documents", "BORIS", "no-break blanks", "Windows path",
         "address", "single quotes", "title", "sep and remark", "byte order mark", "tabs", "other order", "blank rows"],
)  # fmt: skip
def test_a_row_of_a_spreadsheet_is_read(tmp_path, content):
    parsed = read(tmp_path, content)
    (query,) = parsed.queries
    assert not parsed.durations  # that of a moment is not its video's
    assert (query.video_id, query.start_sec, query.end_sec, query.sentence) == ("a", 0.5, 1.5, "A man; walks.")


@pytest.mark.parametrize(
    ("text", "seconds"), [("1m20s", 80), ("1h2m", 3720), ("5 s", 5), ("90sec", 90), ("1 min 20 s", 80), ("500 ms", 0.5)]
)
def test_times_with_units(text, seconds):
    assert parse_time(text) == seconds


def test_a_code_page_is_told_once_for_the_file(tmp_path):
    with pytest.raises(
        AnnotationError, match=r"a\.csv: is no UTF-8: line 2 has the byte 0x92.*person.s door.*CSV UTF-8"
    ):
        read(tmp_path, HEAD.encode() + b"a,0.5,1.5,the person\x92s door\r\n" + b"b,0.5,1.5,caf\xe9\r\n" * 50)


def test_a_comma_that_may_part_thousands_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r":3: '1,234' may be 1234 or 1.234 s"):
        read(tmp_path, HEAD + 'a,987,990,One.\r\na,"1,234","1,300",Two.\r\n')
    for times in ('"1,234","2,500"', '"1,234","2,5"', '"0,234",1', '0.5,"1:02,500"'):
        assert len(read(tmp_path, HEAD + f"a,{times},One.\r\n").queries) == 1


def test_all_faults_are_told_in_one_go(tmp_path):
    rows = 'a,x,y,One.\r\nb,1,2,"two" more\r\nc,1,2\r\n..,1,2,Four.\r\nd,1,2,Five.\r\n'
    parsed = read(tmp_path, HEAD + rows)
    assert [problem.where.rpartition(":")[2] for problem in parsed.malformed] == ["2", "3", "4", "5"]
    assert "'x' is no time" in parsed.malformed[0].reason and "'y' is no time" in parsed.malformed[0].reason
    assert len(parsed.queries) == 1
    with pytest.raises(AnnotationError, match=r":2: the start 'x'.*:3: not a row.*:4: as many"):
        read(tmp_path, HEAD + "".join(rows.splitlines(keepends=True)[:4]))


def test_a_sentence_of_invisible_characters_is_a_fault(tmp_path):
    parsed = read(tmp_path, HEAD + "a,1,2,\u200b\u2060\u00ad\r\nb,1,2,Two.\r\n")
    assert [problem.reason for problem in parsed.malformed] == ["the sentence has invisible characters only"]
