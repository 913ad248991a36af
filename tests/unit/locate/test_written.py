"""Moments as other programs take them."""

from fractions import Fraction

import clips
import pytest

import vmr.locate.written as written_module
from vmr.errors import ConfigError, VideoError
from vmr.locate.answers import Hit, Moment, Search, best_of
from vmr.locate.written import Clock, clock_of, cut_clips, written

HITS = [
    Hit("films/a.mp4", "a dog, walked", 1, Moment(12.0, 26.04, 0.98)),
    Hit("films/b.mp4", "a dog, walked", 2, Moment(3661.5, 3662.0, 0.004)),
]


def search(hits):
    return Search("a dog, walked", videos=3, hits=list(hits), method="m")


def test_csv_and_json():
    text = written([search(HITS)], "csv", curve=False)
    assert text.splitlines() == [
        "video,query,rank,start_sec,end_sec,score",
        'films/a.mp4,"a dog, walked",1,12.000,26.040,0.9800',
        'films/b.mp4,"a dog, walked",2,3661.500,3662.000,0.0040',
    ]
    assert '"moments": [{"video": "films/a.mp4", "start_sec": 12.0,' in written([search(HITS)], "json", curve=False)


def test_subtitles_are_of_one_video_and_in_the_order_of_time():
    hits = [HITS[1], Hit("films/b.mp4", "a dog, walked", 1, Moment(0.25, 1.0, 0.5))]
    assert written([search(hits)], "srt", curve=False) == (
        "1\n00:00:00,250 --> 00:00:01,000\na dog, walked (1)\n\n2\n01:01:01,500 --> 01:01:02,000\na dog, walked (2)\n"
    )
    with pytest.raises(ConfigError, match=r"--format srt: expected moments of one video.*found 2 videos"):
        written([search(HITS)], "srt", curve=False)


def test_an_edit_decision_list_counts_frames_of_each_video(monkeypatch):
    clocks = {"a.mp4": Clock(Fraction(25)), "b.mp4": Clock(Fraction(30000, 1001))}
    monkeypatch.setattr(written_module, "clock_of", lambda path: clocks[path.name])
    lines = written([search(HITS)], "edl", curve=False).splitlines()
    assert lines[:2] == ["TITLE: vmr locate", "FCM: NON-DROP FRAME"]
    assert lines[3] == "001  AX       V     C        00:00:12:00 00:00:26:01 00:00:00:00 00:00:14:01"
    # 3661.5 s at 29.97 a second are frame 109,735, counted at 30: 3657 s and 25 frames.
    assert lines[7].split()[4] == "01:00:57:25"
    assert lines[4:6] == ["* FROM CLIP NAME: a.mp4", "* COMMENT: a dog, walked"]


@pytest.mark.parametrize(
    ("name", "given", "begin"),
    [("a.mov", "01:02:03:04", "01:02:03:04"), ("b.mov", "09:59:59;28", "09:59:59;28"), ("c.mkv", None, "00:00:00:00")],
)
def test_a_time_code_of_the_file_is_where_its_frames_begin(tmp_path, name, given, begin):
    code = ("-timecode", given) if given else ()
    clips.ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64:rate=30000/1001:duration=1", *code, tmp_path / name)
    assert clock_of(tmp_path / name) == Clock(Fraction(30000, 1001), begin)


def test_drop_frame_time_code_follows_the_clock():
    clock = Clock(Fraction(30000, 1001), "00:00:00;00")
    # Minutes 1 to 9 begin with number 02, minute 10 with 00: frame 17,982 of 29.97 a second.
    labels = [clock.at(Fraction(frame * 1001, 30000)) for frame in (1799, 1800, 3597, 3598, 17981, 17982)]
    assert labels == ["00:00:59;29", "00:01:00;02", "00:01:59;29", "00:02:00;02", "00:09:59;29", "00:10:00;00"]
    sixty = Clock(Fraction(60000, 1001), "00:00:00;00")
    assert sixty.at(Fraction(3600 * 1001, 60000)) == "00:01:00;04"


def test_a_sentence_stays_in_its_line():
    hit = Hit("films/a.mp4", "a dog\n\nis walked", 1, Moment(0.0, 1.0, 0.5))
    assert "a dog is walked (1)\n" in written([search([hit])], "srt", curve=False)
    assert "* COMMENT: a dog is walked\n" in written([search([hit])], "edl", curve=False)


def test_clips_have_names_of_their_own(monkeypatch, tmp_path):
    cut = []
    monkeypatch.setattr(written_module, "cut_clip", lambda video, start, end, path: cut.append((video.name, path.name)))
    same = Hit("other/a.mp4", "a dog, walked", 1, Moment(0.0, 1.0, 0.5))
    third = Hit("films/a.mp4", "a cat", 1, Moment(0.0, 1.0, 0.5))
    # Nothing was found for the second sentence.
    asked = ["a dog, walked", "a cow", "a cat"]
    cut_clips([*HITS, same, third], tmp_path / "new", queries=asked)
    assert [name for _, name in cut] == ["a_1.mp4", "b_2.mp4", "a_1_.mp4", "a_q3_1.mp4"]
    cut.clear()
    (tmp_path / "new" / "b_2.mp4").write_bytes(b"a film of the user's")
    with pytest.raises(VideoError, match=r"new/b_2\.mp4: is there already"):
        cut_clips(HITS, tmp_path / "new", queries=asked)
    assert cut == []


def test_the_best_of_several_videos_and_the_surest_refusal(answers):
    found = best_of([answers("a", 0.3), answers("b", 0.9, 0.2), answers("c")], top=2)
    assert [(hit.rank, hit.video, hit.moment.score) for hit in found.hits] == [(1, "b", 0.9), (2, "a", 0.3)]
    assert found.videos == 3 and found.refused == ""
    none = best_of([answers("a", confidence=0.0), answers("b", confidence=0.1)], top=2)
    assert none.hits == [] and none.refused == "not in b"
