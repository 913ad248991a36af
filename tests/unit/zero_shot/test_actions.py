"""Sentences to actions, and actions to moments."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from vmr.errors import FeatureError
from vmr.zero_shot.actions import MOST, ActionMatcher, action_names, named
from vmr.zero_shot.moments import ActionClassifier, stretches

SENTENCES = Path(__file__).parents[2] / "data" / "kinetics_sentences.csv"


def test_the_names_are_those_of_the_logits(shared_data):
    listed = (shared_data / "weights" / "kinetics400_labels.txt").read_text(encoding="utf-8").splitlines()
    assert list(action_names()) == [name for name in listed if name] and len(set(action_names())) == 400


def test_sentences_of_the_test_set_are_of_known_classes_and_enough():
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    near = [row for row in rows if row["action"]]
    assert len(near) >= 300 and len({row["sentence"] for row in rows}) == len(rows)
    assert {row["action"] for row in near} <= set(action_names())
    halves = {row["action"]: row["half"] for row in near}
    assert all(halves[row["action"]] == row["half"] for row in near)  # no class lies in both
    assert Counter(halves.values()) == {"tuning": 30, "held out": 30}


def test_classes_about_as_near_as_the_nearest_are_named():
    similarity = np.zeros(400)
    similarity[[3, 7, 11]] = 0.60, 0.51, 0.49  # 0.10 below the nearest at most
    assert [(each.number, each.action) for each in named(similarity)] == [
        (3, "applauding"),
        (7, "arranging flowers"),
    ]
    similarity[20:30] = 0.58
    assert len(named(similarity)) == MOST and named(similarity)[0].number == 3


def test_a_class_is_looked_for_by_its_name_and_in_a_sentence():
    def encode(sentences):
        # One direction for each name, turned by 45 degrees where it stands in a sentence.
        rows = np.zeros((len(sentences), 401))
        for row, sentence in enumerate(sentences):
            name = sentence.removeprefix("someone is ")
            rows[row, action_names().index(name)] = 1.0
            rows[row, 400] = float(sentence != name)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    found = ActionMatcher(encode).match("archery")
    assert found[0].action == "archery"
    assert found[0].similarity == pytest.approx(np.cos(np.pi / 8))  # half way between the two


def slow_best(evidence):
    """The largest surplus over half the peak, of all pairs of steps."""
    spans = [(a, b) for a in range(len(evidence)) for b in range(a, len(evidence))]
    return max(sum(evidence[a : b + 1] - evidence.max() / 2) for a, b in spans)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12).filter(lambda values: max(values) > 1e-6))
def test_the_best_stretch_has_the_largest_surplus(values):
    evidence = np.array(values)
    spans, scores = stretches(evidence, most=1)
    (first, last), score = spans[0], scores[0]
    surplus = sum(evidence[first : last + 1] - evidence.max() / 2)
    assert surplus == pytest.approx(slow_best(evidence), abs=1e-6)
    assert score == pytest.approx(evidence[first : last + 1].mean())


def test_stretches_do_not_overlap_and_end_at_the_floor():
    evidence = np.array([0.0, 1.0, 1.0, 0.0, 0.4, 0.0, 0.2])
    spans, scores = stretches(evidence, most=5, floor=0.3)
    assert spans.tolist() == [[1, 2], [4, 4]] and scores.tolist() == [1.0, 0.4]
    assert len(stretches(evidence, most=5)[0]) == 3
    whole = np.full(8, 0.9)
    whole[3] = 0.6  # an action that fills its video is one moment
    assert stretches(whole, most=1)[0].tolist() == [[0, 7]]
    assert len(stretches(np.zeros(4), most=5)[0]) == 0


def test_probabilities_are_a_softmax_of_the_layer(tmp_path):
    matrix = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], dtype=np.float32)
    layer = {"logits.conv3d.weight": matrix.reshape(3, 2, 1, 1, 1), "logits.conv3d.bias": np.float32([0, 0, 1])}
    save_file(layer, tmp_path / "w.safetensors")
    found = ActionClassifier(tmp_path / "w.safetensors", actions=3).probabilities(np.array([[2.0, 0.5]]))
    powers = np.exp([2.0, 1.0, 1.0])
    np.testing.assert_allclose(found, [powers / powers.sum()], rtol=1e-6)
    with pytest.raises(FeatureError, match="expected a classifier of 400 actions, found 3"):
        ActionClassifier(tmp_path / "w.safetensors", actions=400)
