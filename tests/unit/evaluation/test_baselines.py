"""`vmr.evaluation.baselines` by hand, against drawn spans, and against the published blind figures."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import evaluation_reference as reference
from written import parsed, parsed_charades

from vmr.annotations.moments import MOMENT_COLUMNS, clamp_spans, write_moments
from vmr.evaluation.baselines import (
    choose_windows,
    compute_baselines,
    expected_random_scores,
    random_hit_probability,
    window_scores,
)
from vmr.evaluation.bootstrap import read_video_scores
from vmr.evaluation.metrics import METRICS, average, truth_spans


def _baselines(folder, table, **more):
    write_moments(table, folder / "moments.csv")
    output = folder / "baselines.json"
    arguments = {"train_split": "train", "splits": ["test"], "split_name": "test", "manifests": []} | more
    compute_baselines(moments=folder / "moments.csv", output=output, video_scores=folder / "baselines.csv", **arguments)
    record = json.loads(output.read_text())
    return record, {tuple(row["window"]): row for row in record["rows"] if row["window"]}


def _printed(scores):
    return [round(scores[name], 2) for name in ("R@1,IoU=0.3", "R@1,IoU=0.5", "R@1,IoU=0.7", "mIoU")]


def test_charades_window_gives_the_published_figures(shared_data, tmp_path):
    record, windows = _baselines(tmp_path, parsed_charades(shared_data, tmp_path)[0])
    # ../shared/reference/published.md: Charades-STA test, constant window [0, 0.30].
    assert _printed(windows[0.0, 0.3]["scores"]["raw"]) == [40.30, 30.65, 15.16, 28.07]
    assert _printed(windows[0.0, 0.3]["scores"]["clamped"]) == [40.30, 30.65, 15.16, 28.07]
    # It is the window that training moments choose by R@1 at 0.5; the others, measured here.
    assert {window: row["criteria"] for window, row in windows.items()} == {
        (0.0, 0.55): ["R@1,IoU=0.3"],
        (0.0, 0.3): ["R@1,IoU=0.5"],
        (0.0, 0.35): ["R@1,IoU=0.7"],
        (0.0, 0.45): ["mIoU"],
    }
    assert (record["training_queries"], record["queries"], record["videos"]) == (12_404, 3_720, 1_334)


def test_of_equally_good_windows_the_earlier_and_shorter_is_chosen():
    # At R@1, IoU=0.3, all windows [a, b] over [0.4, 0.6] that are no longer than 0.65, and smaller ones inside, hit.
    moments = pd.DataFrame([("q", "v", "train", 4.0, 6.0, 10.0, "a")], columns=MOMENT_COLUMNS)
    windows = choose_windows(clamp_spans(moments, {"v": 10.0}))
    assert windows["R@1,IoU=0.3"] == (0.0, 0.6)
    assert windows["R@1,IoU=0.7"] == (0.35, 0.6)
    assert windows["mIoU"] == (0.4, 0.6)


def test_activitynet_whole_video_gives_the_published_figures(shared_data, tmp_path):
    files = {split: [shared_data / f"activitynet_captions/{split}.json"] for split in ("train", "val_1", "val_2")}
    table, _ = parsed(tmp_path, files, annotation_format="json")
    table = clamp_spans(table, dict(zip(table["video_id"], table["duration_sec"], strict=True)))
    assert choose_windows(table[table["split"] == "train"])["mIoU"] == (0.0, 1.0)
    # ../shared/reference/published.md: the whole video.
    published = {"val_1": [42.87, 22.71, 11.39, 32.29], "val_2": [48.02, 21.18, 12.41, 34.57]}
    for split, figures in published.items():
        own = table[table["split"] == split]
        for truth in truth_spans(own).values():
            scores = average(window_scores(truth, duration_sec=own["duration_sec"].to_numpy(), window=(0.0, 1.0)))
            # Some five queries lie exactly at 0.5, where the last bit decides.
            assert _printed(scores) == pytest.approx(figures, abs=0.035)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30), st.integers(1, 40)), min_size=1, max_size=6),
    st.tuples(st.integers(0, 3), st.integers(1, 4)).map(lambda pair: (pair[0] / 4, min(1.0, sum(pair) / 4))),
)
def test_windows_equal_the_reference(moments, window):
    records = [
        {"id": str(i), "span": [start, start + length], "duration": duration}
        for i, (start, length, duration) in enumerate(moments)
    ]
    answers = {own["id"]: [[share * own["duration"] for share in window]] for own in records}
    truth = np.array([own["span"] for own in records], dtype=float)
    duration = np.array([own["duration"] for own in records], dtype=float)
    found = average(window_scores(truth, duration_sec=duration, window=window))
    assert found == pytest.approx(reference.score(records, answers, clamped=False), abs=1e-9)


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_hit_probability_equals_drawn_spans(threshold):
    rng = np.random.default_rng(0)
    spans = np.sort(rng.uniform(-0.2, 1.3, size=(25, 2)), axis=1)  # some leave the video on one side or both
    drawn = np.sort(rng.random((40_000, 2)), axis=1)
    overlap = np.minimum(drawn[:, None, 1], spans[:, 1]) - np.maximum(drawn[:, None, 0], spans[:, 0])
    union = np.maximum(drawn[:, None, 1], spans[:, 1]) - np.minimum(drawn[:, None, 0], spans[:, 0])
    rate = (np.maximum(overlap, 0) / union >= threshold).mean(axis=0)
    # Four standard errors of 40,000 draws.
    assert random_hit_probability(spans, threshold=threshold) == pytest.approx(rate, abs=0.01)


def test_random_scores_by_hand():
    scores = expected_random_scores(
        np.array([[0.0, 30.0], [5.0, 5.0], [1.0, 2.0]]), duration_sec=np.array([30, 30, np.nan])
    )
    # Whole video: P(y - x >= m) = (1 - m)^2 for ordered points; mean IoU = mean length = 1/3.
    hit = [0.49, 0.25, 0.09]
    assert scores[0] == pytest.approx([*hit, *(1 - (1 - p) ** 5 for p in hit), 1 / 3], abs=1e-5)
    # A moment without length cannot be hit; a video of unknown duration has no random spans.
    assert not scores[1:].any()


def test_random_row_on_charades(shared_data, tmp_path):
    table, _ = parsed_charades(shared_data, tmp_path)
    random = _baselines(tmp_path, table)[0]["rows"][0]
    # 200 drawn spans a query, seeded: standard error about 0.04 at 0.5.
    table = table[table["split"] == "test"]
    truth, duration = table[["start_sec", "end_sec"]].to_numpy(), table["duration_sec"].to_numpy()
    rng, totals = np.random.default_rng(5), []
    for _ in range(200):
        window = np.sort(rng.random((len(table), 2)), axis=1) * duration[:, None]
        overlap = np.minimum(window[:, 1], truth[:, 1]) - np.maximum(window[:, 0], truth[:, 0])
        union = np.maximum(window[:, 1], truth[:, 1]) - np.minimum(window[:, 0], truth[:, 0])
        iou = np.maximum(overlap, 0) / union
        totals.append([*((iou >= threshold).mean() for threshold in (0.3, 0.5, 0.7)), iou.mean()])
    assert _printed(random["scores"]["raw"]) == pytest.approx((100 * np.mean(totals, axis=0)).tolist(), abs=0.2)


def test_windows_ignore_unknown_durations_and_share_a_row(tmp_path):
    rows = [("a", "v", "train", 2.0, 4.0, 8.0, "x"), ("b", "w", "train", 0.0, 9.0, np.nan, "x")]
    rows += [("c", "v", "test", 2.0, 4.0, 8.0, "x"), ("d", "w", "test", 2.0, 4.0, np.nan, "x")]
    record, windows = _baselines(tmp_path, pd.DataFrame(rows, columns=MOMENT_COLUMNS), split_name="tested")
    assert (record["split"], record["queries"], record["videos"]) == ("tested", 2, 2)
    # [0.25, 0.5] fits the one usable moment exactly; by R@1 other windows are as good, and the first one is taken.
    assert "mIoU" in windows[0.25, 0.5]["criteria"]
    assert windows[0.25, 0.5]["scores"]["raw"]["mIoU"] == 50
    assert record["unknown_duration"] == 1
    assert sum(len(row["criteria"]) for row in record["rows"]) == 4
    assert all(set(row["scores"]["raw"]) == set(METRICS) for row in record["rows"])


def test_nothing_to_choose_from_takes_the_whole_video(tmp_path):
    rows = [("a", "v", "train", 2.0, 4.0, np.nan, "x"), ("c", "w", "test", 0.0, 8.0, 8.0, "x")]
    _, windows = _baselines(tmp_path, pd.DataFrame(rows, columns=MOMENT_COLUMNS))
    assert list(windows) == [(0.0, 1.0)]


def test_scores_by_video_lie_beside_the_rows(tmp_path):
    rows = [("a", "v", "train", 0.0, 8.0, 8.0, "x"), ("c", "w", "test", 0.0, 8.0, 8.0, "x")]
    rows += [("d", "u", "test", 0.0, 2.0, 8.0, "x"), ("e", "u", "test", 0.0, 4.0, 8.0, "x")]
    record, windows = _baselines(tmp_path, pd.DataFrame(rows, columns=MOMENT_COLUMNS))
    assert record["video_scores"] == "baselines.csv"
    random, *_ = every = read_video_scores(tmp_path / "baselines.csv")
    whole = every[[row["window"] for row in record["rows"]].index([0.0, 1.0])]
    assert (whole.video_ids, whole.queries.tolist()) == (("w", "u"), [1, 2])
    assert whole.sums["raw"][:, METRICS.index("mIoU")].tolist() == [1.0, 0.75]
    for videos, row in ((random, record["rows"][0]), (whole, windows[0.0, 1.0])):
        mean = 100 * videos.sums["raw"].sum(axis=0) / 3
        assert mean.tolist() == pytest.approx([row["scores"]["raw"][name] for name in METRICS])


def test_random_spans_and_windows_against_several_moments():
    one, two = np.array([[0.1, 0.4]]), np.array([[0.1, 0.4], [0.6, 0.9]])
    filled = np.array([two, [[0.1, 0.4], [np.nan, np.nan]]]) * 10
    found = expected_random_scores(filled, duration_sec=np.array([10.0, 10.0]))
    exact = expected_random_scores(one * 10, duration_sec=np.array([10.0]))[0]
    np.testing.assert_array_equal(found[1], exact)
    # By symmetry either moment is found as often; a span that reaches 0.5 of one cannot reach it of the other.
    assert found[0][[1, 2]] == pytest.approx(2 * exact[[1, 2]], abs=0.01)
    assert exact[0] < found[0][0] < 2 * exact[0] + 0.01 and exact[-1] < found[0][-1] < 2 * exact[-1]
    values = window_scores(filled, duration_sec=np.array([10.0, 10.0]), window=(0.6, 0.9))
    assert values[:, -1].tolist() == pytest.approx([1, 0])
