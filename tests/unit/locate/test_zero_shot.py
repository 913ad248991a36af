"""Answers without a model, on features at hand; real weights and videos are tried in benchmarks/zero_shot.py."""

import json

import numpy as np
import pytest
from encoders import NamingEncoder, write_classifier
from typer.testing import CliRunner
from written import write_features

import vmr.locate.drawing as drawing
import vmr.locate.zero_shot as zero_shot
from vmr.cli import app
from vmr.errors import FeatureError, QueryError
from vmr.locate.zero_shot import ActionLocator
from vmr.storage.files import sha256_file
from vmr.zero_shot.actions import action_names

DOG, CHESS = action_names().index("walking the dog"), action_names().index("playing chess")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Weights whose logits are the feature numbers; a video with a walk from its third second to its fifth."""
    monkeypatch.setattr(zero_shot, "SentenceEncoder", NamingEncoder)
    weights = tmp_path / "weights" / "i3d_kinetics400_rgb.safetensors"
    weights.parent.mkdir()
    kind = {"extractor": "i3d", "weights": write_classifier(weights)}
    (weights.parent / "minilm_l6_v2.safetensors").write_bytes(b"")
    features = np.zeros((8, 1024), dtype=np.float32)
    features[2:5, DOG] = 20.0
    edges = np.arange(9.0)
    video = {"v": (features, edges[:-1], edges[1:])}
    write_features(tmp_path / "features.h5", video, **kind)
    write_features(tmp_path / "others.h5", video, extractor="c3d", weights={"sha256": "0"})
    return tmp_path


def test_an_action_is_found_with_its_probability(made):
    locator = ActionLocator.load(cache=made, device="cpu", features=made / "features.h5")
    answer = locator.locate("v.mp4", "a man is walking the dog")
    assert [(each.start_sec, each.end_sec) for each in answer.moments] == [(2.0, 5.0)]
    # e^20 against 399 of e^0
    assert answer.moments[0].score == pytest.approx(1.0, abs=1e-5) and answer.confidence == pytest.approx(1.0, abs=1e-5)
    assert [each.action for each in answer.matched] == ["walking the dog"] and answer.refused == ""
    assert answer.method == "Kinetics zero-shot" and answer.curve.shares["inside"].argmax() in (2, 3, 4)


@pytest.mark.parametrize(
    ("query", "words", "confidence"),
    [
        ("two men playing chess", "in the video: playing chess is less than 0.01 probable", 1 / 400),
        ("a person turns a light on", "among the 400 actions of Kinetics; nearest: ", 0.0),
    ],
)
def test_what_is_not_there_is_refused_in_words(made, query, words, confidence):
    locator = ActionLocator.load(cache=made, device="cpu", features=made / "features.h5")
    answer = locator.locate("v.mp4", query)
    assert answer.moments == [] and words in answer.refused
    assert answer.confidence == pytest.approx(confidence, abs=1e-6)


def test_without_a_model_the_command_answers_with_actions(made, monkeypatch):
    monkeypatch.setenv("VMR_CACHE", str(made))
    monkeypatch.delenv("VMR_MODEL", raising=False)
    asked = ["locate", "v.mp4", "walking the dog", "gone fishing", "--features", str(made / "features.h5")]
    lines = CliRunner().invoke(app, asked).stdout.splitlines()
    assert lines[:3] == ["v.mp4: walking the dog", "  0:02.0 - 0:05.0   1.00", "  taken for: walking the dog (1.00)"]
    assert lines[4].startswith("  refused: nothing like it among the 400 actions")
    told = [json.loads(line) for line in CliRunner().invoke(app, [*asked, "--json"]).stdout.splitlines()]
    assert told[0]["matched"] == [{"action": "walking the dog", "similarity": 1.0, "probability": 1.0}]
    assert [one["confidence"] for one in told] == [1.0, 0.0] and told[1]["moments"] == []


def test_a_refusal_is_told_where_the_format_has_no_place_and_clips_keep_the_numbers_of_answers(made, monkeypatch):
    monkeypatch.setenv("VMR_CACHE", str(made))
    monkeypatch.delenv("VMR_MODEL", raising=False)
    cut = []
    monkeypatch.setattr(drawing, "cut_clip", lambda video, start, end, path: cut.append((start, path.name)))
    asked = ["locate", "v.mp4", "gone\nfishing", "walking the dog", "--features", str(made / "features.h5")]
    result = CliRunner().invoke(app, [*asked, "--format", "srt", "--clip", "out.mp4"])
    assert result.stderr.startswith("v.mp4: gone fishing\n  refused: nothing like it among")
    assert result.stdout.startswith("1\n00:00:02,000 --> ") and "fishing" not in result.stdout
    assert cut == [(2.0, "out-2.mp4")]


def test_features_of_other_weights_are_refused(made):
    with pytest.raises(FeatureError, match=r"others\.h5: expected I3D .* i3d_kinetics400_rgb.* found c3d of others\."):
        ActionLocator.load(cache=made, device="cpu", features=made / "others.h5")
    locator = ActionLocator.load(cache=made, device="cpu", features=made / "features.h5")
    with pytest.raises(QueryError, match="has no words"):
        locator.locate("v.mp4", " ... ")


def test_a_folder_is_searched_at_once_and_bad_files_are_named(made, monkeypatch, tmp_path):
    folder = tmp_path / "films"
    (folder / "sub").mkdir(parents=True)
    for name in ("v.mp4", "sub/w.mkv", "gone.mp4", ".hidden.mp4", "notes.txt"):
        (folder / name).write_bytes(b"")
    features = np.zeros((8, 1024), dtype=np.float32)
    features[6:, DOG] = 8.0  # a shorter walk, less sure
    edges = np.arange(9.0)
    kind = {"extractor": "i3d", "weights": {"sha256": sha256_file(made / "weights/i3d_kinetics400_rgb.safetensors")}}
    sure = features * 0
    sure[2:5, DOG] = 20.0
    write_features(made / "both.h5", {n: (f, edges[:-1], edges[1:]) for n, f in (("v", sure), ("w", features))}, **kind)
    monkeypatch.setenv("VMR_CACHE", str(made))
    asked = ["locate", str(folder), "walking the dog", "playing chess", "--features", str(made / "both.h5")]
    result = CliRunner().invoke(app, [*asked, "--format", "csv"])
    assert result.exit_code == 1 and "gone" in result.stderr
    rows = [line.split(",") for line in result.stdout.splitlines()]
    assert [(row[0].rpartition("/")[2], row[2], row[3]) for row in rows[1:]] == [
        *(("v.mp4", "1", "2.000"), ("w.mkv", "2", "6.000")),
    ]
    lines = CliRunner().invoke(app, asked).stdout.splitlines()
    assert lines[0] == "walking the dog" and lines[1].endswith("v.mp4") and lines[4] == "  searched 2 videos"
    assert lines[6].startswith("  refused: nothing like it in the video: playing chess")
