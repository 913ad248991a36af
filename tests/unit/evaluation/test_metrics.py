"""`vmr.evaluation.metrics` against the reference and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import evaluation_reference as reference

from vmr.evaluation.metrics import average, query_scores, score_sets

# Half seconds: sums of such numbers are exact in floating point, so that ties are ties for both.
seconds = st.integers(0, 40).map(lambda value: value / 2)
spans = st.tuples(seconds, seconds).map(sorted)


def _percent(ranked, truth):
    return average(query_scores(ranked, truth=np.array(truth, dtype=float)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(spans, st.one_of(st.none(), st.lists(spans, max_size=7))), min_size=1, max_size=8))
def test_scores_equal_the_reference(queries):
    truth = [own for own, _ in queries]
    ranked = [None if given is None else np.array(given, dtype=float).reshape(-1, 2) for _, given in queries]
    records = [{"id": str(i), "span": own, "duration": None} for i, own in enumerate(truth)]
    answers = {str(i): given for i, (_, given) in enumerate(queries) if given is not None}
    assert _percent(ranked, truth) == pytest.approx(reference.score(records, answers, clamped=False), abs=1e-9)


@pytest.mark.parametrize(("end", "hits"), [(3.0, [1, 0, 0]), (5.0, [1, 1, 0]), (7.0, [1, 1, 1]), (6.99, [1, 1, 0])])
def test_a_tie_with_the_threshold_counts(end, hits):
    scores = query_scores([np.array([[0.0, end]])], truth=np.array([[0.0, 10.0]]))
    assert scores[0, :3].tolist() == hits


def test_a_tie_of_decimals_is_what_double_precision_makes_of_it():
    # docs/predictions.md says so: with exact fractions the published figures of constant windows would not come out.
    scores = query_scores([np.array([[2.2, 2.9]])], truth=np.array([[2.2, 3.2]]))
    assert scores[0].tolist()[:3] == [1, 1, 0] and scores[0, -1] == (2.9 - 2.2) / (3.2 - 2.2)


def test_zero_length_spans_and_missing_answers_are_wrong():
    ranked = [np.array([[4.0, 4.0]]), np.empty((0, 2)), None]
    assert not query_scores(ranked, truth=np.tile([[0.0, 10.0]], (3, 1))).any()


def test_recall_at_five_looks_at_five_spans_and_no_more():
    far, right = [[90.0, 99.0]], [[0.0, 10.0]]
    fifth, sixth = np.array(far * 4 + right), np.array(far * 5 + right)
    scores = query_scores([fifth, sixth], truth=np.array([[0.0, 10.0]] * 2))
    assert scores.tolist() == [[0, 0, 0, 1, 1, 1, 0], [0] * 7]


def test_covered_scores_use_the_covered_queries_only():
    values = {"raw": np.array([[1.0] * 7, [0.0] * 7, [0.0] * 7])}
    sets = score_sets(values, covered_mask=np.array([True, True, False]))
    assert sets["raw"]["mIoU"] == pytest.approx(100 / 3)
    assert sets["raw_covered"]["mIoU"] == 50
    assert score_sets(values, covered_mask=np.zeros(3, dtype=bool))["raw_covered"] is None
    assert list(score_sets(values, covered_mask=None)) == ["raw"]
