"""Moments as other programs take them."""

from fractions import Fraction

import pytest

import vmr.locate.written as written_module
from vmr.errors import ConfigError
from vmr.locate.answers import Hit, Moment, Search, best_of
from vmr.locate.written import cut_clips, written

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
    rates = {"a.mp4": Fraction(25), "b.mp4": Fraction(30000, 1001)}
    monkeypatch.setattr(written_module, "frame_rate", lambda path: rates[path.name])
    lines = written([search(HITS)], "edl", curve=False).splitlines()
    assert lines[:2] == ["TITLE: vmr locate", "FCM: NON-DROP FRAME"]
    assert lines[3] == "001  AX       V     C        00:00:12:00 00:00:26:01 00:00:00:00 00:00:14:01"
    # 3661.5 s at 29.97 a second are frame 109,735, counted at 30: 3657 s and 25 frames.
    assert lines[7].split()[4] == "01:00:57:25"
    assert lines[4:6] == ["* FROM CLIP NAME: a.mp4", "* COMMENT: a dog, walked"]


def test_clips_have_names_of_their_own(monkeypatch, tmp_path):
    cut = []
    monkeypatch.setattr(written_module, "cut_clip", lambda video, start, end, path: cut.append((video.name, path.name)))
    same = Hit("other/a.mp4", "a dog, walked", 1, Moment(0.0, 1.0, 0.5))
    second = Hit("films/a.mp4", "a cat", 1, Moment(0.0, 1.0, 0.5))
    cut_clips([*HITS, same, second], tmp_path / "new")
    assert [name for _, name in cut] == ["a_1.mp4", "b_2.mp4", "a_1_.mp4", "a_q2_1.mp4"]


def test_the_best_of_several_videos_and_the_surest_refusal(answers):
    found = best_of([answers("a", 0.3), answers("b", 0.9, 0.2), answers("c")], top=2)
    assert [(hit.rank, hit.video, hit.moment.score) for hit in found.hits] == [(1, "b", 0.9), (2, "a", 0.3)]
    assert found.videos == 3 and found.refused == ""
    none = best_of([answers("a", confidence=0.0), answers("b", confidence=0.1)], top=2)
    assert none.hits == [] and none.refused == "not in b"
