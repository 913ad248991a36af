"""`vmr.evaluation.average_precision`: by hand, and against the slow reference of the field's evaluator."""

import numpy as np
import pytest
from reference import evaluation_reference as reference

from vmr.evaluation.average_precision import AP_METRICS, average_precisions
from vmr.evaluation.metrics import METRICS, query_scores


@pytest.mark.parametrize(
    ("spans", "moments", "at_half"),
    [
        ([[0, 4]], [[0, 4]], 1.0),
        ([[0, 4]], [[0, 4], [6, 8]], 1 / 2),
        ([[9, 10], [0, 4]], [[0, 4]], 1 / 2),
        # Hits at ranks 1 and 3: precisions 1 and 2/3.
        ([[0, 4], [9, 10], [6, 8]], [[0, 4], [6, 8]], (1 + 2 / 3) / 2),
        # The second finds nothing: its moment is taken.
        ([[0, 4], [0, 4], [6, 8]], [[0, 4], [6, 8]], (1 + 2 / 3) / 2),
        # A miss before two hits: at both recalls the best later precision is 2/3.
        ([[9, 10], [0, 4], [6, 8]], [[0, 4], [6, 8]], 2 / 3),
        ([[9, 10]] * 10 + [[0, 4]], [[0, 4]], 0.0),  # ten count
        ([], [[0, 4]], 0.0),
        (None, [[0, 4]], 0.0),
        # [0, 8] reaches 1/2 with both; the later moment is taken, so that the next span finds the earlier one.
        ([[0, 8], [0, 4]], [[0, 4], [4, 8]], 1.0),
    ],
)
def test_by_hand_at_one_half(spans, moments, at_half):
    ranked = None if spans is None else np.array(spans, dtype=float).reshape(-1, 2)
    # Another query beside it has one moment more: the rest is filled up.
    truth = np.full((2, len(moments) + 1, 2), np.nan)
    truth[0, : len(moments)] = moments
    truth[1] = 1, 2
    assert average_precisions([ranked, None], truth=truth)[:, 0].tolist() == pytest.approx([at_half, 0])


def test_scores_of_several_moments_equal_the_reference():
    random = np.random.default_rng(0)
    # Half seconds: ties at thresholds are common and exact. Up to 4 moments and 12 windows a query.
    queries = range(200)
    moments, answers = {}, {}
    for query in queries:
        edges = np.sort(random.choice(np.arange(41), size=2 * random.integers(1, 5), replace=False)) / 2
        moments[query] = edges.reshape(-1, 2).tolist()
        windows = np.sort(random.integers(0, 41, size=(random.integers(1, 13), 2)), axis=1) / 2
        # Some are moments themselves, drawn out a little.
        windows[:2] = (np.array(moments[query]) + random.integers(0, 2, size=2) / 2)[: len(windows)][:2][-1]
        scores = np.sort(random.integers(0, 5, size=len(windows)) / 4)[::-1]
        answers[query] = [[*span, score] for span, score in zip(windows.tolist(), scores.tolist(), strict=True)]
    truth = np.full((len(queries), 4, 2), np.nan)
    for query in queries:
        truth[query, : len(moments[query])] = moments[query]
    ranked = [np.array(answers[query])[:, :2] for query in queries]
    means = 100 * np.concatenate(
        [query_scores(ranked, truth=truth), average_precisions(ranked, truth=truth)], axis=1
    ).mean(axis=0)
    found = dict(zip([*METRICS, *AP_METRICS], means.tolist(), strict=True))
    expected = reference.retrieval_scores(answers, moments)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert 10 < expected["mAP@0.75"] < expected["mAP@0.5"] < 90


def test_a_moment_alone_counts_as_beside_one_that_no_span_finds() -> None:
    rng = np.random.default_rng(0)
    ranked = [np.sort(rng.uniform(0, 20, size=(rng.integers(1, 14), 2)), axis=1) for _ in range(60)]
    alone = np.sort(rng.uniform(0, 20, size=(60, 1, 2)), axis=2)
    beside = np.concatenate([alone, np.add(np.full_like(alone, 90.0), np.array([0, 1]))], axis=1)
    found = average_precisions(ranked, truth=alone)
    assert found.any() and not found.all()
    np.testing.assert_array_equal(found, 2 * average_precisions(ranked, truth=beside))
