"""Checkpoints and predictions: what they refuse, and that predictions do not depend on batches."""

from pathlib import Path

import pytest
import torch
from networks import ONE_OF_EACH
from synthetic import answers_of, train_run, write_synthetic
from written import write_features

from vmr.annotations.moments import read_moments, validation_videos
from vmr.errors import CheckpointError, EvaluationError
from vmr.features.store import FeatureStore
from vmr.methods.build import build_network
from vmr.queries.embed import embed_queries
from vmr.queries.store import QueryStore
from vmr.training.checkpoint import (
    check_features,
    check_queries,
    feature_kind,
    load_checkpoint,
    load_state,
    save_checkpoint,
    save_state,
)

SIZES = {"hidden": 8, "query_hidden": 4, "heads": 2, "epochs": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_run(**data.inputs(), output_dir=folder, alignment="pad", **SIZES)
    return folder / "checkpoint.safetensors"


def test_a_checkpoint_carries_what_it_needs(checkpoint):
    model, info = load_checkpoint(checkpoint)
    assert not model.training
    assert info["sizes"]["alignment"] == "pad"
    assert info["sizes"]["video_dim"] == 32
    assert info["settings"]["learning_rate"] == 1e-4
    assert info["queries"]["vectors"] == "glove.txt"
    assert info["feature_kind"]["dim"] == 32
    assert info["features"] == {"extractor": "synthetic", "dim": 32}


def test_a_checkpoint_tells_the_words_it_was_trained_on(data, checkpoint):
    table = read_moments(data.moments)
    train = table[table["split"] == "train"]
    seen = train[~train["video_id"].isin(validation_videos(train["video_id"]))]
    words = {word for sentence in seen["sentence"] for word in sentence.split()}
    known = words & set(QueryStore(data.queries).words)
    assert known and load_checkpoint(checkpoint)[1]["vocabulary"] == sorted(known)


def test_damaged_and_foreign_checkpoints_are_refused(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "absent.safetensors")
    for content in (b"", b"nonsense", checkpoint.read_bytes()[:-10]):
        (tmp_path / "bad.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
            load_checkpoint(tmp_path / "bad.safetensors")


def test_features_of_another_kind_are_refused(checkpoint):
    _, info = load_checkpoint(checkpoint)
    check_features(checkpoint, info, {"extractor": "synthetic", "versions": {"torch": "another"}}, dim=32)
    with pytest.raises(CheckpointError, match="dim: 32 there, 64 here"):
        check_features(checkpoint, info, {"extractor": "synthetic"}, dim=64)
    with pytest.raises(CheckpointError, match="extractor: synthetic there, c3d here"):
        check_features(checkpoint, info, {"extractor": "c3d"}, dim=32)


def test_the_kind_of_features_looks_at_digests_not_at_places():
    there = feature_kind({"extractor": "i3d", "weights": {"sha256": "a", "file": "x", "origin": "here"}}, dim=1024)
    here = feature_kind({"extractor": "i3d", "weights": {"sha256": "a", "file": "y", "origin": "there"}}, dim=1024)
    other = feature_kind({"extractor": "i3d", "weights": {"sha256": "b", "file": "x", "origin": "here"}}, dim=1024)
    assert there == here
    assert there != other


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ({"crop": "centre 224"}, {"crop": "centre 256"}),
        ({"resize": "short side 256"}, {"resize": "128x171"}),
        ({"input": "RGB"}, {"input": "BGR"}),
        ({"mean": "by channel"}, {"mean": "9f86d081"}),
        ({"feature": "fc6 after ReLU"}, {"feature": "fc7 after ReLU"}),
        ({"frames": {"short_side": 256}}, {"frames": {"short_side": 128}}),
        *(
            ({"source_provenance": {name: there}}, {"source_provenance": {name: here}})
            for name, there, here in [("recipe", {"seed": 0}, {"seed": 1}), ("extractor", "i3d", "c3d")]
        ),
    ],
)
def test_what_tells_kinds_of_features_apart(tmp_path, there, here):
    info = {"feature_kind": feature_kind({"extractor": "x", **there}, dim=8)}
    check_features(tmp_path, info, {"extractor": "x", **there}, dim=8)
    with pytest.raises(CheckpointError, match=f"{next(iter(here))}: .* there, .* here"):
        check_features(tmp_path, info, {"extractor": "x", **here}, dim=8)
    # Checkpoints of before did not record these.
    old = {name: value for name, value in info["feature_kind"].items() if name not in here}
    check_features(tmp_path, {"feature_kind": old}, {"extractor": "x", **here}, dim=8)


def test_frames_chosen_otherwise_are_another_kind_and_unnamed_ones_were_shown(tmp_path):
    ours = {"extractor": "i3d", "frames": {"short_side": 256}}
    sentence = "the last frame presented at or before i / fps after the beginning of the file's timeline"
    old = {"feature_kind": {"dim": 8, **ours}}  # of a checkpoint from before
    for told in (ours, ours | {"frame_choice": sentence}, ours | {"frame_choice": "shown"}):
        check_features(tmp_path, old, told, dim=8)
        check_features(tmp_path, {"feature_kind": feature_kind(told, dim=8)}, ours, dim=8)
    with pytest.raises(CheckpointError, match="frame_choice: shown there, nearest here"):
        check_features(tmp_path, old, ours | {"frame_choice": "nearest"}, dim=8)
    # Nobody says how the frames of imported features were chosen.
    check_features(tmp_path, {"feature_kind": {"dim": 8, "extractor": "mine"}}, {"extractor": "mine"}, dim=8)


def test_features_of_another_kind_are_not_predicted_on(data, checkpoint, tmp_path):
    with FeatureStore(data.features) as store:
        videos = {
            name: (video.features, video.start_sec, video.end_sec)
            for name, video in ((name, store.get(name)) for name in store.video_ids)
        }
    write_features(tmp_path / "foreign.h5", videos, extractor="c3d")
    inputs = data.inputs(features=tmp_path / "foreign.h5")
    with pytest.raises(CheckpointError, match="extractor: synthetic there, c3d here"):
        answers_of(checkpoint.parent, **inputs)


def test_half_precision_predicts_nearly_the_same(data, checkpoint):
    best = {}
    for precision in ("float32", "bfloat16"):
        lines = answers_of(checkpoint.parent, **data.inputs(), precision=precision)
        best[precision] = [line["spans"][0][2] for line in lines]
    assert best["float32"] != best["bfloat16"]
    # bfloat16 has 8 bits: each of the two probabilities is off by a few percent at most.
    assert best["bfloat16"] == pytest.approx(best["float32"], rel=0.1)


def test_predictions_do_not_depend_on_batches(data, checkpoint):
    alone, some, all_at_once = (answers_of(checkpoint.parent, **data.inputs(), batch_size=size) for size in (1, 7, 200))
    assert len(alone) == 18
    assert [line["query_id"] for line in alone] == [line["query_id"] for line in all_at_once]
    for others in (some, all_at_once):
        for one, other in zip(alone, others, strict=True):
            assert [span[:2] for span in one["spans"]] == [span[:2] for span in other["spans"]]
            assert [span[2] for span in one["spans"]] == pytest.approx([span[2] for span in other["spans"]], rel=1e-4)
    for line in alone:
        scores = [span[2] for span in line["spans"]]
        assert line["split"] == "test"
        assert 1 <= len(scores) <= 5
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= start < end for start, end, _ in line["spans"])


def test_splits_without_queries_are_refused(data, checkpoint):
    with pytest.raises(EvaluationError, match="val_7"):
        answers_of(checkpoint.parent, **data.inputs(), splits=["val_7"])


def test_other_word_vectors_are_refused(data, checkpoint, tmp_path):
    other = write_synthetic(tmp_path, train_videos=2, test_videos=1, seed=5)
    with pytest.raises(CheckpointError, match="word vectors"):
        answers_of(checkpoint.parent, **data.inputs(queries=other.queries))


def test_queries_that_are_cut_or_divided_otherwise_are_refused(data, checkpoint, tmp_path):
    queries = tmp_path / "queries.h5"
    embed_queries(moments=data.moments, vectors=data.vectors, output=queries, report=tmp_path / "q.json", max_words=1)
    with pytest.raises(CheckpointError, match="max_words 25, these have 1"):
        answers_of(checkpoint.parent, **data.inputs(queries=queries))
    _, info = load_checkpoint(checkpoint)
    with pytest.raises(CheckpointError, match=r"tokenizer .*, these have 'spaces'"):
        check_queries(checkpoint, info, {**info["queries"], "tokenizer": "spaces"})


def test_states_are_read_without_running_code(tmp_path):
    path = tmp_path / "last.pt"
    assert load_state(path, fingerprint="a") is None
    save_state(path, {"fingerprint": "a", "x": torch.ones(2), "history": [{"loss": 1.0}]})
    assert load_state(path, fingerprint="b") is None
    assert load_state(path, fingerprint="a")["history"] == [{"loss": 1.0}]
    torch.save({"fingerprint": "a", "x": Path("anything that is not plain")}, path)
    assert load_state(path, fingerprint="a") is None
    path.write_bytes(b"cut off")
    assert load_state(path, fingerprint="a") is None


OLD = {"max_steps": 8, "hidden": 8, "query_hidden": 4, "heads": 2, "dropout": 0.2, "lstm_dropout": 0.5}


# Later ones have no such checkpoints.
THEN = [
    name for name, method in ONE_OF_EACH.items() if (method.variant_of or name) in ("ci_mha", "excl", "vslnet", "lgi")
]


@pytest.mark.parametrize("method", THEN)
def test_a_checkpoint_from_before_methods_had_settings_of_their_own_loads(tmp_path, method):
    # All had the same sizes, those that they did not take too; VSLNet's and LGI's own were not said.
    sizes = {"method": method, "video_dim": 6, "word_dim": 5, **OLD, "alignment": "pad", "segmentation_weight": 0.5}
    torch.manual_seed(0)
    network = build_network(**sizes)
    save_checkpoint(tmp_path / "c.safetensors", network, sizes=sizes, info={})
    loaded, info = load_checkpoint(tmp_path / "c.safetensors")
    assert info["sizes"] == sizes
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    own = {"ci_mha": ("segmentation_weight", 0.5), "vslnet": ("highlight_weight", 5.0), "lgi": ("phrase_overlap", 0.3)}
    if method in own:
        assert getattr(loaded, own[method][0]) == own[method][1]
