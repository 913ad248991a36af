"""Answers to the queries of a dataset, without training."""

import json

import numpy as np
import pandas as pd
import pytest
from encoders import NamingEncoder, write_classifier
from written import write_features

import vmr.zero_shot.predict as predict
from vmr.annotations.moments import write_moments
from vmr.errors import EvaluationError, FeatureError
from vmr.zero_shot.actions import action_names

YOGA = action_names().index("yoga")


class Encoder(NamingEncoder):
    """Every other sentence is about yoga."""

    otherwise = YOGA


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Options of the stage: a video with yoga from its second second on, one without features, a query to each."""
    monkeypatch.setattr(predict, "SentenceEncoder", Encoder)
    features = np.zeros((6, 1024), dtype=np.float32)
    features[2:, YOGA] = 9.0
    edges = np.arange(7.0)
    weights = write_classifier(tmp_path / "weights.safetensors")
    write_features(tmp_path / "i3d.h5", {"here": (features, edges[:-1], edges[1:])}, weights=weights)
    rows = [
        ("q0", "here", "test", 0.0, 1.0, "she stretches"),
        ("q1", "gone", "test", 0.0, 1.0, "she stretches"),
        ("q2", "here", "train", 0.0, 1.0, "she stretches"),
    ]
    table = pd.DataFrame(rows, columns=["query_id", "video_id", "split", "start_sec", "end_sec", "sentence"])
    write_moments(table.assign(duration_sec=6.0), tmp_path / "moments.csv")
    names = {"moments": "moments.csv", "features": "i3d.h5", "weights": "weights.safetensors", "encoder": "none"}
    return {name: tmp_path / file for name, file in names.items()} | {"output": tmp_path / "out.jsonl", "top": 5}


def test_queries_of_videos_with_features_are_answered(made):
    predict.predict_actions(**made, splits=["test"])
    answers = [json.loads(line) for line in made["output"].read_text().splitlines()]
    assert [(one["query_id"], one["video_id"], one["split"]) for one in answers] == [("q0", "here", "test")]
    start, end, score = answers[0]["spans"][0]
    share = np.exp(9.0) / (np.exp(9.0) + 399)
    assert (start, end) == (2.0, 6.0) and score == pytest.approx(share, abs=1e-5)


def test_other_weights_and_empty_splits_are_refused(made):
    with pytest.raises(EvaluationError, match="no queries in the splits val"):
        predict.predict_actions(**made, splits=["val"])
    write_features(made["features"], {}, dim=1024, weights={"sha256": "0"})
    with pytest.raises(FeatureError, match=r"i3d\.h5: expected features of .*weights\.safetensors"):
        predict.predict_actions(**made, splits=["test"])
