"""`vmr compare` on predictions of which each number is known."""

import json

import pytest

from vmr.errors import EvaluationError
from vmr.evaluation.compare import compare

TRUTH = [("a", "a dog runs.", 0.0, 4.0), ("a", "a cat sits.", 4.0, 8.0), ("b", "it rains.", 0.0, 10.0)]
# The first answers, and those of the other system: IoU 1, 1/2, none; 1/4, 1, 4/5.
FIRST = [[0.0, 4.0], [4.0, 6.0], None]
SECOND = [[0.0, 1.0], [4.0, 8.0], [0.0, 8.0]]


def predictions(path, spans):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        json.dumps({"video_id": video, "sentence": sentence, "spans": [[*span, 0.5]]})
        for (video, sentence, _, _), span in zip(TRUTH, spans, strict=True)
        if span is not None
    )
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "test.txt"
    path.write_text("".join(f"{video} {start} {end}##{sentence}\n" for video, sentence, start, end in TRUTH))
    return path


def test_two_files_are_compared_query_by_query(tmp_path, annotations):
    one, other = predictions(tmp_path / "1.jsonl", FIRST), predictions(tmp_path / "2.jsonl", SECOND)
    text = compare(one, other, annotations=[str(annotations)], output=tmp_path / "c.json", changed=1)
    row = next(line for line in text.splitlines() if line.startswith("mIoU"))
    assert row.split()[:4] == ["mIoU", "50.00", "68.33", "+18.33"]
    # R@1 at 0.5: of two queries of one video each finds one more than the other, of the single one of b the second.
    row = next(line for line in text.splitlines() if line.startswith("R@1 IoU=0.5"))
    assert row.split()[2:5] == ["66.67", "66.67", "+0.00"]
    assert row.endswith("[-50.00, +100.00]")
    assert "3 queries in 2 videos; without an answer, and so wrong: 1 in A, 0 in B" in text
    better, worse = text.split("better in B")[1].split("worse in B")
    assert (
        'IoU 0.00 -> 0.80  b "it rains." (0.0 to 10.0 s; answers none -> 0.0 to 8.0)' in better and "cat" not in better
    )
    assert 'IoU 1.00 -> 0.25  a "a dog runs."' in worse
    record = json.loads((tmp_path / "c.json").read_text())
    assert [row["iou"] for row in record["by_query"]] == [[1.0, 0.25], [0.5, 1.0], [0.0, 0.8]]


def test_folders_of_methods_are_compared_over_their_seeds_with_their_own_ground_truth(tmp_path):
    folder = tmp_path / "work" / "toy"
    (folder / "annotations").mkdir(parents=True)
    rows = (f"test:{i},{v},test,{s},{e},10.0,{q}" for i, (v, q, s, e) in enumerate(TRUTH, start=1))
    head = "query_id,video_id,split,start_sec,end_sec,duration_sec,sentence"
    (folder / "annotations" / "moments.csv").write_text("\n".join([head, *rows]) + "\n")
    record = {"dataset": "toy", "splits": ["test"]}
    for method, seeds in (("mha", [FIRST, SECOND]), ("ci_mha", [SECOND])):
        for seed, spans in enumerate(seeds):
            run = folder / "runs" / "i3d" / method / f"seed_{seed}"
            predictions(run / "predictions_test.jsonl", spans)
            (run / "metrics_test.json").write_text(json.dumps(record))
    text = compare(folder / "runs/i3d/mha", folder / "runs/i3d/ci_mha")
    row = next(line for line in text.splitlines() if line.startswith("mIoU"))
    # (50 + 68.33) / 2 and 68.33
    assert row.split()[:4] == ["mIoU", "59.17", "68.33", "+9.17"]
    assert "mha, 2 seeds" in text and "ci_mha, one run" in text
    (folder / "runs/i3d/mha/seed_0/metrics_val.json").write_text(json.dumps(record))
    with pytest.raises(EvaluationError, match=r"was scored on test, val. Name one with --split-name"):
        compare(folder / "runs/i3d/mha", folder / "runs/i3d/ci_mha")


def test_what_is_missing_is_told(tmp_path, annotations):
    one = predictions(tmp_path / "1.jsonl", FIRST)
    with pytest.raises(EvaluationError, match=r"neither side is a run in a folder `work`\. Name the annotations"):
        compare(one, one)
    with pytest.raises(EvaluationError, match=r"no metrics_\*.json is there"):
        compare(one, tmp_path, annotations=[str(annotations)])
    with pytest.raises(EvaluationError, match=r"none\.jsonl: there is no such file or folder\. Name a file"):
        compare(one, tmp_path / "none.jsonl", annotations=[str(annotations)])


def test_answers_to_another_split_only_are_refused(tmp_path):
    rows = (f"{v},{s},{e},{q},{'test' if v == 'a' else 'val'}\n" for v, q, s, e in TRUTH)
    (tmp_path / "all.csv").write_text("video,start,end,sentence,split\n" + "".join(rows))
    one = predictions(tmp_path / "1.jsonl", [*FIRST[:2], None])
    other = predictions(tmp_path / "2.jsonl", [None, None, SECOND[2]])
    with pytest.raises(EvaluationError, match=r"2\.jsonl: answers none of the 2 queries that are scored, only some of"):
        compare(one, other, annotations=[str(tmp_path / "all.csv")], splits=["test"])
