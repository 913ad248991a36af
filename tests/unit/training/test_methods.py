"""Every method through training, prediction and scoring; and what blind methods get to see."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from networks import ONE_OF_EACH
from synthetic import answers_of, assert_same, evaluate_run, killed_at, record, train_run, weights, write_synthetic

import vmr.training.predict as predict
from vmr.annotations.moments import read_moments, write_moments
from vmr.data.collate import Collator
from vmr.methods.catalogue import METHODS
from vmr.model.spans import temporal_iou
from vmr.queries.store import QueryStore
from vmr.training.checkpoint import load_checkpoint

SMALL = synthetic.SMALL | {"epochs": 2}
LOSSES = {
    "mha": ["boundary_loss", "segmentation_loss"],
    "ci_mha_wo_ms": ["boundary_loss"],
    "excl": ["boundary_loss"],
    "vslnet": ["boundary_loss", "highlight_loss"],
    "lgi": ["regression_loss", "attention_loss", "phrases_loss"],
    "man": ["match_loss", "offset_loss"],
    "mllc": ["moment_loss", "video_loss"],
    "drn": ["match_loss", "span_loss", "overlap_loss"],
    "tripnet": ["missed_loss", "policy_loss", "value_loss", "entropy_loss"],
    "mlvi": ["match_loss", "offset_loss", "retrieval_loss", "words_loss"],
    "logan": ["pairs_loss"],
    "tga": ["pairs_loss"],
    "scn": ["words_loss", "rank_loss"],
    "ci_mha_query_blind": ["boundary_loss", "segmentation_loss"],
    "ci_mha_video_blind": ["boundary_loss", "segmentation_loss"],
}


def run_method(data, folder: Path, method: str, **changes: object) -> list[dict]:
    train_run(**data.inputs(), output_dir=folder, method=method, **{**SMALL, **changes})
    return answers_of(folder, **data.inputs())


@pytest.mark.parametrize("method", LOSSES)
def test_from_training_to_scores(data, tmp_path, method):
    answers = run_method(data, tmp_path, method)
    assert len(answers) == 18
    for answer in answers:
        assert len(answer["spans"]) == 1 if METHODS[method].one_span else 1 <= len(answer["spans"]) <= 5
        assert all(0 <= start <= end for start, end, _ in answer["spans"])
    history = pd.read_csv(tmp_path / "history.csv")
    assert [name for name in history if name.endswith("_loss") and name != "validation_loss"] == LOSSES[method]
    assert history[["loss", "validation_loss", *LOSSES[method]]].notna().all(axis=None)
    run = record(tmp_path)
    assert run["method"] == method
    assert run["alignment"] == ("swap" if "alignment" in METHODS[method].settings.model_fields else None)
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")[1]["sizes"]["method"] == method
    scores, candidates = evaluate_run(tmp_path, data, dataset="synthetic", features="i3d")
    assert (scores["method"], scores["covered"]) == (method, 18)
    assert ("oracle" in scores["scores"]) is bool(candidates)
    for answer in answers if candidates and not METHODS[method].offsets else ():
        nearest = np.abs(candidates[answer["video_id"]][:, None] - np.array(answer["spans"])[:, :2]).max(axis=2)
        assert nearest.min(axis=0).max() < 1e-4
    if METHODS[method].one_span:
        assert scores["scores"]["raw"]["R@5,IoU=0.5"] == scores["scores"]["raw"]["R@1,IoU=0.5"]


@pytest.mark.parametrize("method", ONE_OF_EACH)
def test_the_same_seed_gives_the_same_bits_and_so_does_a_killed_run(data, tmp_path, monkeypatch, method):
    # Half precision where it is not the default.
    precision = "bfloat16" if method == "vslnet" else "float32"
    answers = run_method(data, tmp_path / "whole", method, epochs=3, precision=precision)

    def again() -> list[dict]:
        return run_method(data, tmp_path / "killed", method, epochs=3, precision=precision)

    killed_at(monkeypatch, "_train_epoch", 3, again)
    assert again() == answers
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def batches_of(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Every batch that is gathered from now on, with the samples that it was gathered from."""
    seen, original = [], Collator.__call__

    def watched(self, samples, rows):
        batch = original(self, samples, rows)
        seen.append((samples, rows, batch, self.videos, self.vectors))
        return batch

    monkeypatch.setattr(Collator, "__call__", watched)
    return seen


def test_no_batch_holds_its_own_query(data, tmp_path, monkeypatch):
    store, seen = QueryStore(data.queries), batches_of(monkeypatch)
    run_method(data, tmp_path, "ci_mha_query_blind")
    by_epoch = {}
    for samples, rows, batch, videos, vectors in seen:
        for place, row in enumerate(rows):
            own = store.token_ids(samples.query_ids[row])
            shown = samples.tokens[row, : int(samples.word_counts[row])].tolist()
            by_epoch.setdefault(samples.query_ids[row], []).append(shown)
            # The samples say who was shown what; the batch holds just that.
            expected = vectors[torch.tensor(shown)]
            assert torch.equal(batch.words[place, : len(shown)], expected)
            source = [
                query for query, video in zip(samples.query_ids, samples.video_ids, strict=True)
                if video != samples.video_ids[row] and store.token_ids(query).tolist() == shown
            ]  # fmt: skip
            assert source or own.tolist() != shown
            assert torch.equal(
                batch.features[batch.video[place], : int(batch.step_counts[place])],
                videos.steps_of(int(samples.video[row])),
            )
    # Drawn anew in every epoch: of the training queries most were shown different ones.
    changed = [len({tuple(shown) for shown in each}) > 1 for each in by_epoch.values() if len(each) == 2]
    assert np.mean(changed) > 0.5


def test_no_batch_holds_its_own_video(data, tmp_path, monkeypatch):
    seen = batches_of(monkeypatch)
    run_method(data, tmp_path, "ci_mha_video_blind")
    assert len({id(samples) for samples, *_ in seen}) == 4  # Two epochs, validation (of one video), and the test.
    for samples, rows, batch, videos, _ in seen:
        for place, row in enumerate(rows):
            own = videos.steps_of(int(samples.video[row]))
            shown = batch.features[batch.video[place]]
            assert int(batch.step_counts[place]) == len(own)
            assert not any((step == own).all(dim=1).any() for step in shown[: len(own)])


@pytest.mark.parametrize("what", ["query", "video"])
def test_a_blind_answer_does_not_depend_on_what_is_not_seen(data, tmp_path, monkeypatch, what):
    method = f"ci_mha_{what}_blind"
    answers = run_method(data, tmp_path / "run", method)
    twice = answers_of(tmp_path / "run", **data.inputs())
    assert twice == answers
    original = predict.build_samples if what == "query" else predict.load_videos
    changed_video = answers[0]["video_id"]

    def changed(*args, **kwargs):
        result = original(*args, **kwargs)
        if what == "query":
            result.tokens[0] = (result.tokens[0] + 1) % 5
        else:
            result.steps_of(result.index[changed_video]).mul_(-1.0)
        return result

    monkeypatch.setattr(predict, original.__name__, changed)
    others = answers_of(tmp_path / "run", **data.inputs())
    differ = {
        one["query_id" if what == "query" else "video_id"]
        for one, other in zip(answers, others, strict=True)
        if one["spans"] != other["spans"]
    }
    # Somebody was shown what changed, but not who it belongs to.
    assert len(differ) == 1
    assert differ.isdisjoint({answers[0]["query_id"], changed_video})


def blind_answers(data, folder: Path, what: str, **changed) -> tuple[list[dict], dict]:
    """Answers of a blind method, and what its run says of itself."""
    inputs = data.inputs(**changed)
    train_run(**inputs, output_dir=folder, method=f"ci_mha_{what}_blind", **SMALL)
    return answers_of(folder, **inputs), record(folder)


@pytest.mark.parametrize("what", ["query", "video"])
def test_a_single_query_is_exchanged_for_one_to_train_on(data, tmp_path, monkeypatch, what):
    table = read_moments(data.moments)
    lonely = tmp_path / "moments.csv"
    write_moments(pd.concat([table[table["split"] == "train"], table[table["split"] == "test"].iloc[:1]]), lonely)
    shown, original = [], predict.exchange_by_split
    monkeypatch.setattr(
        predict,
        "exchange_by_split",
        lambda *args, **kwargs: shown.append((args[0], original(*args, **kwargs))) or shown[-1][1],
    )
    answers, run = blind_answers(data, tmp_path / "run", what, moments=lonely)
    assert run["trained"] and len(answers) == 1 and answers[0]["spans"]
    ((own, exchanged),) = shown
    if what == "query":
        words = int(own.word_counts[0])
        assert own.tokens[0, :words].tolist() != exchanged.tokens[0, : int(exchanged.word_counts[0])].tolist()
    else:
        assert exchanged.shown_video[0] != own.video[0]


@pytest.mark.parametrize("what", ["query", "video"])
def test_with_few_videos_blind_methods_end_in_rows_like_the_others(tmp_path, what):
    # One video with one query of each split: nothing to exchange when training, and one of each when testing.
    data = write_synthetic(tmp_path, train_videos=3, test_videos=2, covered={"train001", "test003"})
    table = read_moments(data.moments).drop_duplicates("video_id")
    write_moments(table, data.moments)
    answers, run = blind_answers(data, tmp_path / "few", what)
    assert run["trained"] is False and "there is a single one to train on" in run["reason"]
    assert [answer["video_id"] for answer in answers] == ["test003"]
    # No other video at all: no answer, instead of one that has seen what it must not.
    data = write_synthetic(tmp_path / "one", train_videos=3, test_videos=2, covered={"test003"})
    write_moments(read_moments(data.moments).drop_duplicates("video_id"), data.moments)
    answers, run = blind_answers(data, tmp_path / "none", what)
    assert run["trained"] is False and answers == []


def test_one_validation_query_is_exchanged_for_one_to_train_on(tmp_path):
    data = write_synthetic(tmp_path, train_videos=4, test_videos=2)
    write_moments(read_moments(data.moments).drop_duplicates("video_id"), data.moments)
    answers, run = blind_answers(data, tmp_path / "run", "query")
    assert run["counts"]["selection_queries"] == 1 and run["trained"] and len(answers) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("method", "epochs"), [("excl", 25), ("vslnet", 15), ("lgi", 15)])
def test_neighbours_learn_planted_moments(tmp_path, method, epochs):
    data = write_synthetic(tmp_path, train_videos=40, test_videos=10)
    sizes = {"hidden": 64, "query_hidden": 32, "heads": 4, "batch_size": 32, "epochs": epochs, "learning_rate": 2e-3}
    answers = run_method(data, tmp_path / "run", method, precision="float32", **sizes)
    table = read_moments(data.moments).set_index("query_id")
    truth = table.loc[[answer["query_id"] for answer in answers], ["start_sec", "end_sec"]].to_numpy(dtype=float)
    found = temporal_iou(np.array([answer["spans"][0][:2] for answer in answers]), truth)
    # Three moments a video: naming any of them at random is right a third of the time.
    assert np.mean(found >= 0.5) > 0.75
