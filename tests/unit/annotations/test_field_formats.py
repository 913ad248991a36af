"""Annotations as the field and its tools hand them out: each layout becomes queries in seconds, or is named."""

import gzip
import json

import pytest
from written import parsed

from vmr.annotations.moments import WINDOWS, clamp_spans, windows_of
from vmr.annotations.read import detect_format, read_annotations
from vmr.errors import AnnotationError
from vmr.evaluation.standalone import evaluate_file

QVH = [
    {"qid": 2579, "query": "A girl cooks.", "duration": 150, "vid": "NUsG9BgSes0_210.0_360.0",
     "relevant_clip_ids": [82], "saliency_scores": [[1, 1, 1]], "relevant_windows": [[40, 54], [0, 36]]},
    {"qid": 1251, "query": "Food photos.", "duration": 150, "vid": "NUsG9BgSes0_210.0_360.0",
     "relevant_windows": [[20, 24]]},
]  # fmt: skip
TMLGA = {"id": 0, "video": "3MSZA", "time_start": 24.3, "time_end": 30.4, "frame_start": 583.9, "frame_end": 730.5,
         "feature_start": 69.8, "description": "A light.", "number_frames": 744, "fps": 24.0,
         "tokens": ["a"]}  # fmt: skip
TACOS = {"timestamps": [[252, 452], [0, 30]], "sentences": ["One.", "Two."], "fps": 29.4, "num_frames": 1402}
SNAG = {"fps": 24.0, "num_frames": 720, "num_clips": 90, "annotations": [{"segment": [1, 9], "sentence": "One."}]}
DIDEMO = {"annotation_id": 7, "times": [[1, 1], [1, 2], [1, 1], [4, 5]], "video": "x@N02_1.mov", "num_segments": 6,
          "description": "One.", "reference_description": "one", "dl_link": "-"}  # fmt: skip
NLQ_QUERIES = [
    {"clip_start_sec": 43.9, "clip_end_sec": 51.5, "video_start_sec": 343.9, "query": "Where is it?"},
    {"clip_start_sec": 5.0, "clip_end_sec": 5.0, "query": "Who came?"},
    {"clip_start_sec": 1.0},
]
NLQ_CLIP = {"clip_uid": "c1", "video_start_sec": 300.02, "clip_start_sec": 0, "clip_end_sec": 480.0,
            "annotations": [{"annotation_uid": "a-1", "language_queries": NLQ_QUERIES}]}  # fmt: skip
NLQ = {"version": "v1", "videos": [{"video_uid": "w", "split": "val", "clips": [NLQ_CLIP]}]}
EAF = """<?xml version="1.0"?><ANNOTATION_DOCUMENT><HEADER TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR
MEDIA_URL="file:///C:/my%20films/clip%201.mp4" MIME_TYPE="video/mp4"/></HEADER><TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="500"/>
<TIME_SLOT TIME_SLOT_ID="t2" TIME_VALUE="1500"/><TIME_SLOT TIME_SLOT_ID="t3"/>
</TIME_ORDER><TIER TIER_ID="a"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="t1"
TIME_SLOT_REF2="t2"><ANNOTATION_VALUE>One.</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION><ANNOTATION>
<ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t3"><ANNOTATION_VALUE>Three.
</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER><TIER TIER_ID="b"><ANNOTATION><REF_ANNOTATION
ANNOTATION_ID="a2" ANNOTATION_REF="a1"><ANNOTATION_VALUE>Two.</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
</ANNOTATION_DOCUMENT>"""
VIA = """# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)
# ATTRIBUTE = {"1":{"aname":"words","type":1,"options":{}},"2":{"aname":"who","type":3,"options":{"0":"a cat"}}}
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"1_a","[""clip 1.mp4""]",0,"[0.5,1.5]","[]","{""2"":""0"",""1"":""sits""}"
"1_b","[""clip 1.mp4""]",0,"[2.4]","[2,1,2,3,4]","{""1"":""x""}"
"""


def lines(*records):
    return "\n".join(map(json.dumps, records))


def read(tmp_path, content, name="a.json", splits=("test",)):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    files = {split: [tmp_path / name] for split in splits}
    return {split: own[0] for split, own in read_annotations(files, annotation_format="auto").items()}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lines(*QVH), [("2579", "NUsG9BgSes0_210.0_360.0", 0, 36), ("1251", "NUsG9BgSes0_210.0_360.0", 20, 24)]),
        (json.dumps([TMLGA]), [("1", "3MSZA", 24.3, 30.4)]),
        (json.dumps({"s13-d21.avi": TACOS}), [("s13-d21:0", "s13-d21", 252 / 29.4, 452 / 29.4),
                                              ("s13-d21:1", "s13-d21", 0, 30 / 29.4)]),
        (json.dumps({"a": {**TACOS, "timestamps": [[2.5, 4.5], [0, 30]]}}),
         [("a:0", "a", 2.5, 4.5), ("a:1", "a", 0, 30)]),
        (json.dumps({"test": {"v1.mp4": SNAG}}), [("v1:0", "v1", 1, 9)]),
        (json.dumps({"v1": SNAG}), [("v1:0", "v1", 1, 9)]),
        (json.dumps({"database": {"v1": {**SNAG, "subset": "test"}}}), [("v1:0", "v1", 1, 9)]),
        (json.dumps([DIDEMO]), [("7", "x@N02_1", 5, 10)]),
        (json.dumps([["AO8RW", 33.0, [0.0, 6.9], "One."]]), [("1", "AO8RW", 0, 6.9)]),
        (lines({"vid_name": "friends_1", "duration": 61.4, "ts": [12.2, 20.0], "desc": "One.", "desc_id": 9}),
         [("9", "friends_1", 12.2, 20.0)]),
        (json.dumps({"0": {"movie": "10", "sentence": "One.", "timestamps": [1.5, 2.5], "movie_duration": 90}}),
         [("0", "10", 1.5, 2.5)]),
        # Numbers as texts, and frames told by their rate and the duration alone.
        (json.dumps({"a": {**TACOS, "timestamps": [["252", "452"], ["0", "30"]], "fps": "29.4", "num_frames": "1402"}}),
         [("a:0", "a", 252 / 29.4, 452 / 29.4), ("a:1", "a", 0, 30 / 29.4)]),
        (json.dumps([{"video": "a", "start": 300, "end": 600, "fps": 30, "duration": 21.5, "caption": "One."}]),
         [("1", "a", 10, 20)]),
        (json.dumps(NLQ), [("a-1_0", "c1", 43.9, 51.5)]),
        (EAF, [("a1", "clip 1", 0.5, 1.5), ("a2", "clip 1", 0.5, 1.5)]),
        (VIA, [("4", "clip 1", 0.5, 1.5)]),
        (json.dumps({"project": {}, "config": {}, "attribute": {}, "file": {"1": {"fname": "clip 1.mp4"}},
                     "metadata": {"1_a": {"vid": "1", "z": [0.5, 1.5], "av": {"1": "One."}}},
                     "view": {"1": {"fid_list": ["1"]}}}), [("1", "clip 1", 0.5, 1.5)]),
    ],
    ids=["QVHighlights", "TMLGA", "TACoS of 2D-TAN", "seconds beside a rate", "SnAG", "SnAG without splits", "YouCook2",
         "DiDeMo", "VSLNet", "TVR", "MAD", "texts", "frames by rate", "Ego4D", "ELAN", "VIA's CSV", "VIA's project"],
)  # fmt: skip
def test_a_layout_becomes_queries_in_seconds(tmp_path, content, expected):
    parsed = read(tmp_path, content)["test"]
    assert [(own.key, own.video_id, own.start_sec, own.end_sec) for own in parsed.queries] == expected


def test_durations_of_frames_and_faults_of_exports(tmp_path):
    assert read(tmp_path, json.dumps({"s.avi": TACOS}))["test"].durations == {"s": 1402 / 29.4}
    assert "not aligned" in read(tmp_path, EAF)["test"].malformed[0].reason
    parsed = read(tmp_path, VIA)["test"]
    assert parsed.queries[0].sentence == "a cat sits" and "single picture" in parsed.malformed[0].reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines({"qid": 1, "query": "One.", "vid": "a", "duration": 150}), "test splits whose truth is not public"),
        (json.dumps({"videos": [{"clips": [{"annotations": [{"labels": []}]}]}]}), "of Ego4D, NLQ alone is read"),
        ("v\0i\0d\0e\0o\0", "zero bytes, as UTF-16 without its mark"),
        (r"{\rtf1 video,start}", "a document in RTF"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("\n<!DOCTYPE html><html></html>", "a page in HTML"),
        ("#film.mp4\nBegin Time - msec\tEnd Time - msec\tdefault\n1\t2\tA.\n", ":2: .*export of ELAN lacks the video"),
        (
            json.dumps(
                {"file": {}, "view": {"1": {"fid_list": []}}, "metadata": {"1": {"vid": 1, "z": None, "av": {}}}}
            ),
            "not a row of VIA's export",
        ),
        (json.dumps(["a", "b"]), "a list of str.*Convert"),
        ('{"a": 1', "not JSON .*Make or copy it again"),
        (b"PK\x03\x04workbook", "workbook of Excel"),
        (
            json.dumps({"videos": [{"id": 1}], "annotations": []}),
            "the lists videos, annotations, .*Convert",
        ),
        (
            json.dumps({"text": "A man.", "segments": [{"start": 0.0, "end": 2.0, "text": "A man."}]}),
            "`segments` name no video, as transcripts of Whisper do not.*Convert",
        ),
        (gzip.compress(b"{}", mtime=0)[:-1], "cannot be unpacked as gzip"),
        (b"<html></html>", "a page in HTML"),
        (b'<?xml version="1.0"?><annotations/>', "format cannot be told.*XML is read of ELAN only"),
        ("1\n00:00:01,000 --> 00:00:02,500\nA man walks.\n", "These are subtitles"),
        ("WEBVTT\n\n00:01.000 --> 00:02.500\nA man walks.\n", "These are subtitles"),
        ("a,0.5,1.5,A man walks.\n", "A table begins with the names of its columns"),
        ("video,start,duration,sentence\na,1,2,A.\n", "end not found in 'video, start, duration, sentence'"),
        (b"PAR1\x15", "a Parquet file"),
        (b"\x80\x04\x95", "a pickle of Python"),
        (b"%PDF-1.4", "is a PDF"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_do(tmp_path, content, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        read(tmp_path, content)
    assert "Fetch" not in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"timestamps": [["0.5", "1.5"]], "sentences": ["A man walks."], "duration": "10"},
        {"timestamps": [["0:00.5", "00:00:01.5"]], "sentences": ["A man walks."], "duration": 10},
        {"timestamps": [{"start": 0.5, "end": 1.5}], "sentences": ["A man walks."], "duration": 10},
    ],
)
@pytest.mark.parametrize("pack", [str.encode, lambda text: gzip.compress(text.encode())])
def test_times_of_json_as_text_and_as_objects(tmp_path, entry, pack):
    (part,) = read(tmp_path, pack(json.dumps({"a": entry}))).values()
    assert [(own.start_sec, own.end_sec) for own in part.queries] == [(0.5, 1.5)]
    assert part.durations == {"a": 10.0} and not part.malformed


def test_ego4d_is_scored_by_the_names_of_its_challenge(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(NLQ))
    answer = {"clip_uid": "c1", "annotation_uid": "a-1", "query_idx": 0, "predicted_times": [[43.9, 51.5], [1, 2]]}
    (tmp_path / "p.json").write_text(json.dumps({"version": "1.0", "results": [answer]}))
    evaluate_file(
        predictions=tmp_path / "p.json", annotations=[str(tmp_path / "a.json")], output=tmp_path / "scores.json"
    )
    assert json.loads((tmp_path / "scores.json").read_text())["scores"]["raw"]["mIoU"] == 100.0
    parsed = read(tmp_path, json.dumps(NLQ))["test"]
    assert parsed.durations == {"c1": 480.0} and len(parsed.degenerate) == 1 and len(parsed.malformed) == 1


def test_a_file_of_several_splits_is_divided(tmp_path):
    content = json.dumps({"training": {"v1": SNAG}, "test": {"v2": SNAG}})
    parts = read(tmp_path, content, splits=("training", "test"))
    assert {split: [own.video_id for own in part.queries] for split, part in parts.items()} == {
        "training": ["v1"],
        "test": ["v2"],
    }
    with pytest.raises(AnnotationError, match="nothing for the split val; it holds training, test"):
        read(tmp_path, content, splits=("val",))


def test_several_windows_train_on_the_longest_and_are_all_kept(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(*QVH))
    moments, _ = parsed(tmp_path, {"val": [tmp_path / "a.jsonl"]}, annotation_format="json")
    assert moments[["start_sec", "end_sec"]].to_numpy().tolist() == [[0, 36], [20, 24]]
    assert windows_of(moments) == {"val:2579": [(40, 54), (0, 36)], "val:1251": [(20, 24)]}
    clamped = clamp_spans(moments, {"NUsG9BgSes0_210.0_360.0": 50.0})
    assert windows_of(clamped, column=f"clamped_{WINDOWS}")["val:2579"] == [(40, 50), (0, 36)]


def test_formats_are_told(tmp_path):
    for name, content, kind in (
        ("a", lines(*QVH), "json"),
        ("b", EAF, "eaf"),
        ("c", VIA, "csv"),
        ("d", "sep=;\r\nvideo;start;end;text\r\n", "csv"),
    ):
        (tmp_path / name).write_text(content)
        assert detect_format(tmp_path / name) == kind


@pytest.mark.parametrize("other", [None, {"video": "a", "timestamps": 1.5, "fps": 30, "frame_count": 6, "text": "Two"}])
def test_what_is_no_sentence_costs_itself_alone(tmp_path, other):
    good = {"video": "b", "start": 0, "end": 1, "sentence": "One."}
    (part,) = read(tmp_path, json.dumps({"test": [good, other]})).values()
    assert len(part.queries) == len(part.malformed) == 1


@pytest.mark.timeout(60)
def test_annotations_of_elan_that_refer_to_each_other_have_no_times(tmp_path):
    circle = "".join(
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{own}" ANNOTATION_REF="{other}"><ANNOTATION_VALUE>Round.'
        "</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
        for own, other in (("c1", "c2"), ("c2", "c1"))
    )
    parts = read(tmp_path, EAF.replace("</TIER>\n<", f"{circle}</TIER>\n<"), name="a.eaf")
    assert [query.sentence for query in parts["test"].queries] == ["One.", "Two."]
    told = [problem.where.rpartition(", ")[2] for problem in parts["test"].malformed]
    assert told == ["a3", "c1", "c2"]
