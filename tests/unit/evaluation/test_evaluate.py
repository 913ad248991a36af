"""`vmr.evaluation.evaluate` as a stage: files in, metrics.json out, checked against the reference."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import evaluation_reference as reference

from vmr.annotations.moments import write_moments
from vmr.errors import EvaluationError
from vmr.evaluation.bootstrap import read_video_scores
from vmr.evaluation.evaluate import evaluate_predictions
from vmr.video.manifest import MANIFEST_COLUMNS, write_manifest

seconds = st.integers(0, 40).map(lambda value: value / 2)
spans = st.tuples(seconds, seconds).map(sorted)
truths = st.tuples(st.integers(0, 30), st.integers(1, 30)).map(lambda pair: [pair[0] / 2, sum(pair) / 2])


def _write(folder, queries, answers):
    """queries: (id, video, split, span, duration)."""
    rows = [
        [query_id, video_id, split, *span, duration, "a sentence"]
        for query_id, video_id, split, span, duration in queries
    ]
    columns = ["query_id", "video_id", "split", "start_sec", "end_sec", "duration_sec", "sentence"]
    write_moments(pd.DataFrame(rows, columns=columns), folder / "moments.csv")
    lines = [
        json.dumps({"query_id": query_id, "spans": [[*span, -rank] for rank, span in enumerate(given)]})
        for query_id, given in answers.items()
    ]
    (folder / "predictions.jsonl").write_text("\n".join(lines))


def _evaluate(folder, splits=("test",), **more):
    output = folder / "metrics.json"
    evaluate_predictions(
        **{"manifests": [], "labels": {"dataset": "toy", "method": "mha", "features": "i3d"}} | more,
        predictions=folder / "predictions.jsonl",
        moments=folder / "moments.csv",
        splits=list(splits),
        split_name="+".join(splits),
        output=output,
        video_scores=folder / "video_scores.csv",
    )
    return json.loads(output.read_text())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    videos=st.lists(st.tuples(st.integers(2, 40), st.booleans(), st.lists(truths, min_size=1, max_size=3)), min_size=1),
    data=st.data(),
)
def test_all_four_scores_equal_the_reference(tmp_path, videos, data):
    queries, answers = [], {}
    for i, (half_seconds, covered, moments) in enumerate(videos):
        for j, moment in enumerate(moments):
            queries.append((f"test:{i}:{j}", f"v{i}", "test", moment, half_seconds / 2))
            if covered:
                answers[f"test:{i}:{j}"] = data.draw(st.lists(spans, max_size=6))
    _write(tmp_path, queries, answers)
    metrics = _evaluate(tmp_path)
    records = [{"id": row[0], "span": row[3], "duration": row[4]} for row in queries]
    covered = [record for record in records if record["id"] in answers]
    for name, own in (("", records), ("_covered", covered)):
        for truth in ("raw", "clamped"):
            expected = reference.score(own, answers, clamped=truth == "clamped")
            found = metrics["scores"][truth + name]
            assert found is expected is None or found == pytest.approx(expected, abs=1e-9)
    assert metrics["queries"] == len(queries)
    assert metrics["covered"] == metrics["answered"] == len(covered)
    assert metrics["coverage"] == pytest.approx(100 * len(covered) / len(queries))
    assert metrics["covered_videos"] == sum(own for _, own, _ in videos)


def test_raw_and_clamped_truth_by_hand(tmp_path):
    # The moment ends 10 s after its video of 10 s: raw [0, 20], clamped [0, 10].
    _write(tmp_path, [("q", "v", "test", (0, 20), 10)], {"q": [(0, 10)]})
    scores = _evaluate(tmp_path)["scores"]
    assert (scores["raw"]["mIoU"], scores["clamped"]["mIoU"]) == (50, 100)
    assert (scores["raw"]["R@1,IoU=0.7"], scores["clamped"]["R@1,IoU=0.7"]) == (0, 100)


def test_an_oracle_answers_with_the_best_candidate_and_is_wrong_without_any(tmp_path):
    spans = {"a": (2, 8), "b": (0, 4), "c": (0, 4)}
    _write(tmp_path, [(name, name, "test", span, 10) for name, span in spans.items()], {})
    candidates = {"a": np.array([[0.0, 10.0], [2.0, 6.0]]), "b": np.array([[0.0, 10.0]])}
    oracle = _evaluate(tmp_path, candidates=candidates)["scores"]["oracle"]
    # IoUs 2/3 (the other has 0.6), 0.4 and 0.
    assert oracle["mIoU"] == pytest.approx(100 * (2 / 3 + 0.4) / 3)
    assert [oracle[f"R@1,IoU={threshold}"] for threshold in (0.3, 0.5, 0.7)] == pytest.approx([200 / 3, 100 / 3, 0])
    assert "oracle" not in _evaluate(tmp_path)["scores"]


def test_the_manifest_gives_durations_that_the_annotations_lack(tmp_path):
    _write(tmp_path, [("q", "v", "test", (0, 20), None)], {"q": [(0, 10)]})
    assert _evaluate(tmp_path)["scores"]["clamped"]["mIoU"] == 50
    row = {"video_id": "v", "path": "v.mp4", "status": "ok", "duration_sec": 10.0}
    write_manifest([row], tmp_path / "manifest.csv", columns=MANIFEST_COLUMNS)
    assert _evaluate(tmp_path, manifests=[tmp_path / "manifest.csv"])["scores"]["clamped"]["mIoU"] == 100


def test_a_missing_answer_in_a_covered_video_is_wrong_there_too(tmp_path):
    queries = [("a", "v", "test", (0, 10), 10), ("b", "v", "test", (0, 10), 10), ("c", "w", "test", (0, 10), 10)]
    _write(tmp_path, queries, {"a": [(0, 10)]})
    metrics = _evaluate(tmp_path)
    assert (metrics["answered"], metrics["covered"], metrics["covered_videos"]) == (1, 2, 1)
    assert metrics["scores"]["raw_covered"]["mIoU"] == 50


def test_a_union_keeps_the_queries_of_a_video_in_both_splits(tmp_path):
    queries = [(f"{split}:v", "v", split, (0, 10), 10) for split in ("train", "val_1", "val_2")]
    _write(tmp_path, queries, {"val_1:v": [(0, 10)], "val_2:v": [(0, 1)], "train:v": [(0, 10)]})
    metrics = _evaluate(tmp_path, splits=("val_1", "val_2"))
    assert (metrics["queries"], metrics["videos"], metrics["split"]) == (2, 1, "val_1+val_2")
    assert metrics["scores"]["raw"]["R@1,IoU=0.5"] == 50
    assert _evaluate(tmp_path, splits=("val_1",))["scores"]["raw"]["R@1,IoU=0.5"] == 100


def test_the_run_says_method_seed_and_whether_it_was_trained(tmp_path):
    _write(tmp_path, [("q", "v", "test", (0, 1), 10)], {"q": [(0, 1)]})
    run = tmp_path / "run.json"
    run.write_text(
        json.dumps({"method": "ci_mha", "seed": 3, "trained": False, "chosen_epoch": 0, "features": {"a": 1}})
    )
    metrics = _evaluate(tmp_path, run=run, labels={"dataset": "toy", "features": "i3d"})
    assert (metrics["method"], metrics["seed"], metrics["features"], metrics["trained"]) == ("ci_mha", 3, "i3d", False)
    with pytest.raises(EvaluationError, match=r"run\.json: this run has method ci_mha.*labelled mha"):
        _evaluate(tmp_path, run=run)


@pytest.mark.parametrize(
    ("label", "provenance", "simulated"),
    [
        ("my_i3d", {"extractor": "my_i3d", "source_provenance": {"simulated": True, "recipe": {}}}, True),
        # An import of what another project had imported.
        ("my_i3d", {"source_provenance": {"extractor": "x", "source_provenance": {"simulated": True}}}, True),
        ("simulated_small", None, True),
        ("my_i3d", {"extractor": "my_i3d", "source_provenance": None}, False),
        ("my_i3d", {"source_provenance": {"simulated": False}}, False),
    ],
)
def test_scores_say_whether_the_features_of_the_run_were_simulated(tmp_path, label, provenance, simulated):
    _write(tmp_path, [("q", "v", "test", (0, 1), 10)], {"q": [(0, 1)]})
    run = tmp_path / "run.json"
    run.write_text(json.dumps({"method": "mha", "seed": 0, "features": provenance}))
    metrics = _evaluate(tmp_path, run=run, labels={"dataset": "toy", "features": label})
    assert (metrics["features"], metrics["simulated"]) == (label, simulated)


def test_the_same_input_gives_the_same_bytes(tmp_path):
    _write(tmp_path, [("a", "v", "test", (0, 1), 10), ("b", "w", "test", (0, 1), 10)], {"a": [(0, 1)]})
    _evaluate(tmp_path)
    first = (tmp_path / "metrics.json").read_bytes()
    _evaluate(tmp_path)
    assert (tmp_path / "metrics.json").read_bytes() == first


def test_scores_by_video_add_up_to_the_scores(tmp_path):
    queries = [("a", "v", "test", (0, 10), 10), ("b", "w", "test", (0, 10), 10), ("c", "v", "test", (0, 4), 10)]
    _write(tmp_path, queries, {"a": [(0, 5)], "c": [(0, 4)]})
    metrics = _evaluate(tmp_path)
    assert metrics["video_scores"] == "video_scores.csv"
    (videos,) = read_video_scores(tmp_path / "video_scores.csv")
    assert (videos.video_ids, videos.queries.tolist()) == (("v", "w"), [2, 1])
    assert videos.covered_mask.tolist() == [True, False]
    assert videos.sums["raw"][:, -1].tolist() == [1.5, 0.0]
    assert metrics["scores"]["raw"]["mIoU"] == 50


def test_test_videos_that_were_trained_on_are_counted(tmp_path):
    queries = [("a", "v", "test", (0, 1), 10), ("b", "w", "test", (0, 1), 10), ("c", "v", "train", (2, 4), 10)]
    queries.append(("d", "x", "train", (2, 4), 10))
    _write(tmp_path, queries, {})
    run = tmp_path / "run.json"
    run.write_text(json.dumps({"settings": {"train_split": "train"}}))
    metrics = _evaluate(tmp_path, run=run)
    assert (metrics["trained_on_videos"], metrics["train_split"]) == (1, "train")
    assert _evaluate(tmp_path)["trained_on_videos"] == 0


def test_an_unknown_split_is_named(tmp_path):
    _write(tmp_path, [("q", "v", "test", (0, 1), 10)], {})
    with pytest.raises(EvaluationError, match=r"moments\.csv: no queries in the split `val`.*test"):
        _evaluate(tmp_path, splits=("val",))
