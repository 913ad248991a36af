"""Case studies of trained runs: the curves are those that the predictions came from."""

import base64
import io
import json
import shutil

import h5py
import numpy as np
import pytest
from clips import render
from PIL import Image
from sectioned import sectioned

from vmr.config.sections import ReportSettings
from vmr.model.spans import temporal_iou
from vmr.report.cases import study_cases
from vmr.report.strips import film_strips, picture_uri
from vmr.video.frames import FrameInfo, write_video


def _study(made, output, **more):
    settings = {
        "runs": [run for (_, seed), run in made.runs.items() if seed == 0],
        "split_name": "test",
        "splits": ["test"],
        **made.data.inputs(),
        "frames": [],
        "dataset": "toy",
        "features_label": "synthetic",
        "output": output,
        "cases": 2,
        "random_cases": 3,
        "device": "cpu",
    }
    study_cases(**sectioned(ReportSettings, settings | more))
    return json.loads(output.read_text())


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    return _study(made, tmp_path_factory.mktemp("cases") / "cases.json")


def test_curves_are_probabilities_over_the_steps(study):
    assert study["decides"] == "ci_mha" and study["answered"] == 24 and study["queries"] == 30
    for case in study["cases"]:
        own = case["methods"]["ci_mha"]["curves"]
        assert len({len(values) for values in own.values()}) == 1
        assert set(own) == {"start_sec", "end_sec", "start", "end", "inside"}
        assert sum(own["start"]) == pytest.approx(1, abs=0.01) and sum(own["end"]) == pytest.approx(1, abs=0.01)
        assert all(0 <= value <= 1 for value in own["inside"])
        assert set(case["methods"]["lgi"]["curves"]) == {"start_sec", "end_sec", "attention"}


@pytest.mark.parametrize("method", ["ci_mha", "ci_mha_query_blind"])
def test_the_first_span_is_the_best_pair_of_the_curves(study, method):
    # A blind method must be shown with the query that it was evaluated with, or this differs.
    for case in study["cases"]:
        own = case["methods"][method]
        curves = own["curves"]
        joint = np.triu(np.outer(curves["start"], curves["end"]))
        start, end = own["spans"][0]
        first = int(np.argmin(np.abs(np.array(curves["start_sec"]) - start)))
        last = int(np.argmin(np.abs(np.array(curves["end_sec"]) - end)))
        assert joint[first, last] >= 0.98 * joint.max()  # the curves are kept to four digits


def test_iou_is_that_of_the_first_span(study):
    for case in study["cases"]:
        for own in case["methods"].values():
            assert own["iou"] == pytest.approx(float(temporal_iou(own["spans"][0], case["truth"])), abs=2e-3)


def test_best_is_better_than_median_and_worst(study):
    ious = {
        kind: [c["methods"]["ci_mha"]["iou"] for c in study["cases"] if kind in c["kinds"]]
        for kind in ("best", "median", "worst", "random")
    }
    assert min(ious["best"]) >= max(ious["median"]) >= min(ious["median"]) >= max(ious["worst"])
    assert {kind: len(own) for kind, own in ious.items()} == {"best": 2, "median": 2, "worst": 2, "random": 3}


def test_the_same_again_gives_the_same_bytes(study, made, tmp_path):
    assert _study(made, tmp_path / "again.json") == study


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"features_label": "simulated"}, "no video was seen"),
        ({"thumbnails": 0}, "switched off"),
        ({}, "no decoded frames"),
    ],
)
def test_without_pictures_it_says_why(made, tmp_path, more, message):
    study = _study(made, tmp_path / "cases.json", **more, cases=1, random_cases=0)
    assert study["strips"] == {} and message in study["no_strips"]


def test_simulated_features_are_told_by_their_file(made, tmp_path):
    features = tmp_path / "features.h5"
    shutil.copy(made.data.features, features)
    with h5py.File(features, "r+") as file:
        file.attrs["provenance"] = json.dumps(json.loads(file.attrs["provenance"]) | {"simulated": True})
    study = _study(
        made,
        tmp_path / "cases.json",
        **made.data.inputs(features=features),
        features_label="my_i3d",
        cases=1,
        random_cases=0,
    )
    assert study["features"] == "my_i3d (simulated)" and "no video was seen" in study["no_strips"]


@pytest.fixture
def store(tmp_path):
    """Two seconds of numbered frames of test005, as a frame store keeps them."""
    clip = render(tmp_path / "clip.h264", "-g", "48", "-x264-params", "aud=1:scenecut=0", "-f", "h264")
    path = tmp_path / "frames.h5"
    part = tmp_path / "part.h5"
    with h5py.File(part, "w") as file, clip.open("rb") as stream:
        write_video(file, stream, FrameInfo(48, 128, 64, 24.0, 2.0, 0.0))
    with h5py.File(path, "w") as file, h5py.File(part, "r") as source:
        source.copy(source["videos"], file.require_group("videos"), name="test005")
        file.attrs["provenance"] = "{}"
    return path


def test_a_strip_has_pictures_from_the_middles_of_equal_parts(store, tmp_path):
    strips = film_strips([tmp_path / "deleted.h5", store], ["test005", "absent"], count=4)
    assert list(strips) == ["test005"]
    # 48 frames in four parts: middles at 6, 18, 30, 42.
    assert strips["test005"]["times"] == [6 / 24, 18 / 24, 30 / 24, 42 / 24]
    pictures = strips["test005"]["pictures"]
    assert len(set(pictures)) == 4
    assert all(uri.startswith("data:image/webp;base64,") and len(uri) < 6000 for uri in pictures)
    assert film_strips([store], ["test005"], count=0) == {}


def test_pictures_keep_their_shape():
    uri = picture_uri(np.zeros((256, 480, 3), np.uint8))
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert image.size == (338, 180)  # 480 * 180 / 256
