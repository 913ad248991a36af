"""`vmr.evaluation.query_finder`: every way to name a query, and what is refused."""

import pytest

from vmr.evaluation.query_finder import BadRecordError, KnownQuery, QueryFinder

QUERIES = [
    KnownQuery("val_1:v:0", "v:0", "v", "val_1", 0, "A dog runs."),
    KnownQuery("val_1:v:1", "v:1", "v", "val_1", 1, "It barks."),
    KnownQuery("val_2:v:0", "v:0", "v", "val_2", 0, "a dog runs"),
    KnownQuery("val_1:w:0", "w:0", "w", "val_1", 0, "A dog runs."),
    KnownQuery("val_1:w:1", "w:1", "w", "val_1", 1, "A dog runs."),
]


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"query_id": "val_1:v:1"}, "val_1:v:1"),
        ({"query_id": "v:1"}, "val_1:v:1"),
        ({"query_id": "v:0", "split": "val_2"}, "val_2:v:0"),
        ({"query_id": None, "video_id": "v", "index": 1, "sentence": None, "split": None}, "val_1:v:1"),
        ({"query_id": "v:1", "video_id": "v", "split": "val_1"}, "val_1:v:1"),
        # Systems strip and cut sentences.
        ({"query_id": "v:1", "sentence": "it barks <eos>"}, "val_1:v:1"),
        ({"query_id": "v:1", "query": "it <unk>"}, "val_1:v:1"),
        ({"query_id": "v:1", "query": "It"}, "val_1:v:1"),  # cut to so many words
        ({"qid": 99, "vid": "v.mp4", "query": "It barks."}, "val_1:v:1"),  # an id of other annotations
        ({"video_id": "v", "index": 1}, "val_1:v:1"),
        ({"video_id": "v", "index": 0, "split": "val_2"}, "val_2:v:0"),
        ({"video_id": "w", "index": 1, "sentence": "a dog runs"}, "val_1:w:1"),
        ({"video_id": "v", "sentence": "It barks."}, "val_1:v:1"),
        ({"video_id": "v", "query": " IT  barks "}, "val_1:v:1"),
        ({"video_id": "v", "query": "IT BARK S <eos>"}, "val_1:v:1"),
        # As written, both are single; without case and punctuation they would be the same.
        ({"video_id": "v", "sentence": "A dog runs."}, "val_1:v:0"),
        ({"video_id": "v", "sentence": "a dog runs"}, "val_2:v:0"),
    ],
)
def test_a_query_is_found(record, found):
    assert QueryFinder(QUERIES).find(record).query_id == found


@pytest.mark.parametrize(
    ("record", "kind", "said"),
    [
        ({"query_id": "v:0"}, "unknown", 'ambiguous: it may be any of "val_1:v:0", "val_2:v:0". Give its query_id'),
        ({"query_id": "v:7"}, "unknown", 'no query "v:7".*look like "val_1:v:0"'),
        ({"query_id": "v:1", "video_id": "w"}, "contradiction", 'has video_id "v" in the annotations, "w" here'),
        ({"query_id": "v:1", "split": "val_2"}, "contradiction", 'has split "val_1" in the annotations, "val_2" here'),
        ({"query_id": "w"}, "malformed", '"w" is a video: expected a query'),
        ({"vid": "W", "query": "A dog runs."}, "unknown", r'of video "W" \(is it "w"\?\)'),
        ({"query_id": 1.5}, "malformed", 'expected "query_id" with a text, found 1.5'),
        ({"video_id": "v", "index": 0}, "unknown", "ambiguous"),
        ({"video_id": "v", "index": 5}, "unknown", "no query with the index 5"),
        ({"video_id": "w", "index": 1, "sentence": "It barks."}, "contradiction", "is another than"),
        ({"query_id": "v:1", "query": "A dog runs."}, "contradiction", 'is "It barks." in the annotations'),
        ({"query_id": "v:1", "vid": "w.mp4"}, "contradiction", 'has video_id "v" in the annotations, "w" here'),
        # One behind the last: all others are most likely one off, too.
        ({"video_id": "v", "index": 2}, "contradiction", "Count from 0"),
        ({"query_id": "v:2"}, "contradiction", "numbered from 0 to 1"),
        ({"qid": 7, "pred_relevant_windows": []}, "malformed", 'expected "vid" and "query" beside it'),
        ({"video_id": "v", "index": True}, "malformed", '"index" or a "sentence"'),
        ({"video_id": "w", "sentence": "A dog runs."}, "unknown", "ambiguous"),
        ({"video_id": "v", "sentence": "A DOG RUNS."}, "unknown", "ambiguous"),
        ({"video_id": "v", "sentence": "It barks.", "split": "val_2"}, "unknown", 'in the split "val_2"'),
        ({"video_id": 3, "index": 1}, "malformed", 'expected "query_id"'),
        ({}, "malformed", 'expected "query_id"'),
    ],
)
def test_no_query_or_several_are_refused(record, kind, said):
    with pytest.raises(BadRecordError, match=said) as caught:
        QueryFinder(QUERIES).find(record)
    assert caught.value.kind == kind


NAMED = [
    KnownQuery(f"val:{key}", key, "v", "val", i, s, is_named=True)
    for i, (key, s) in enumerate((("11", "a"), ("12", "a")))
]


def test_ids_that_the_annotations_give_are_those_of_other_systems():
    finder = QueryFinder(NAMED)
    assert finder.find({"qid": 12, "vid": "v", "query": "a"}).query_id == "val:12"  # the sentence stands there twice
    assert finder.find({"qid": "11"}).query_id == "val:11"
    with pytest.raises(BadRecordError, match='query 11 is "a" in the annotations, "b" here') as caught:
        finder.find({"qid": 11, "vid": "v", "query": "b"})
    assert caught.value.kind == "contradiction"


@pytest.mark.parametrize("query_id", [0, 4])
def test_a_number_before_the_first_or_behind_the_last_line_tells_of_another_count(query_id):
    finder = QueryFinder(KnownQuery(f"test:{n}", str(n), "v", "test", n - 1, f"s{n}") for n in (1, 2, 3))
    with pytest.raises(BadRecordError, match="numbered from 1 to 3") as caught:
        finder.find({"query_id": query_id})
    assert caught.value.kind == "contradiction"
