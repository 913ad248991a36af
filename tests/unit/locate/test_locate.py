"""From a trained run to answers: export, words, stretches, cache and the locator."""

import gzip
import itertools
import json
import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from synthetic import answers_of, train_run
from written import write_features

import vmr.locate.videos as locator_module
from vmr.annotations.moments import read_moments
from vmr.errors import CheckpointError, ConfigError, FeatureError, QueryError, ShardError, VideoError
from vmr.features.store import VideoFeatures
from vmr.locate.cache import FeatureCache
from vmr.locate.export import export_run
from vmr.locate.extraction import unpacked
from vmr.locate.folders import refuse_search
from vmr.locate.locator import Locator
from vmr.locate.model_file import read_model
from vmr.locate.stretches import Stretch, StretchResult, merge, plan_stretches, stretch_result
from vmr.locate.word_table import WordTable, read_words
from vmr.model.prediction import BoundaryPrediction


def test_the_answer_is_the_one_that_evaluation_scores(made) -> None:
    data, folder = made
    sentences = read_moments(data.moments).set_index("query_id")["sentence"]
    locator = Locator.load(folder / "model.safetensors", features=data.features, device="cpu")
    answers = answers_of(folder / "run", **data.inputs())
    for expected in answers:
        answer = locator.locate(f"{expected['video_id']}.mp4", sentences[expected["query_id"]], top=5)
        found = [[each.start_sec, each.end_sec, each.score] for each in answer.moments]
        np.testing.assert_allclose(found, expected["spans"], rtol=1e-3, atol=1e-6)
    assert len(answers) == 12  # two videos of three events with two sentences each


def test_features_of_other_settings_are_refused_with_the_reason(made, tmp_path: Path) -> None:
    data, folder = made
    other = tmp_path / "other.h5"
    other.write_bytes(data.features.read_bytes())
    with h5py.File(other, "r+") as file:
        file.attrs["provenance"] = json.dumps({"extractor": "synthetic", "dim": 32, "stride": 4})
    with pytest.raises(CheckpointError, match="stride: None there, 4 here"):
        Locator.load(folder / "model.safetensors", features=other, device="cpu")


def test_a_model_of_imported_features_wants_features(made) -> None:
    _, folder = made
    with pytest.raises(FeatureError, match="--features"):
        Locator.load(folder / "model.safetensors", device="cpu")


def test_what_is_no_exported_model_is_refused(made, tmp_path: Path) -> None:
    _, folder = made
    with pytest.raises(CheckpointError, match="vmr export"):
        read_model(folder / "run" / "checkpoint.safetensors")
    with pytest.raises(CheckpointError, match=r"none\.safetensors: no such file\. .*vmr export"):
        read_model(tmp_path / "none.safetensors")
    broken = tmp_path / "cut.safetensors"
    broken.write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a model"):
        read_model(broken)


def test_export_takes_only_the_vectors_of_training(made, tmp_path: Path) -> None:
    data, folder = made
    other = tmp_path / "glove.txt"
    other.write_text(data.vectors.read_text() + "more " + "0.5 " * 11 + "0.5\n")
    with pytest.raises(CheckpointError, match="--vectors"):
        export_run(run=folder / "run", output=tmp_path / "m.safetensors", vectors=other)
    absent = tmp_path / "glove_6b_50d.txt"
    with pytest.raises(
        CheckpointError, match=rf"`vmr assets prepare glove_6b_50d --output {absent}`, or name .* --vectors"
    ):
        export_run(run=folder / "run", output=tmp_path / "m.safetensors", vectors=absent)
    assert not (tmp_path / "m.safetensors").exists()


def test_a_folder_above_runs_names_one_run_of_each_method(tmp_path):
    for name in ("ci_mha/seed_0", "mha/seed_0", "mha/seed_1"):
        (tmp_path / "runs" / "i3d" / name).mkdir(parents=True)
        (tmp_path / "runs" / "i3d" / name / "checkpoint.safetensors").touch()
    for folder, told in {
        "runs": r"is no run; 3 are below it\. Name one of them, such as \S*/ci_mha/seed_0, \S*/mha/seed_0\.$",
        "runs/i3d/mha": r"is no run; 2 are below it\. Name one of them, such as \S*/mha/seed_0\.$",
    }.items():
        with pytest.raises(CheckpointError, match=told):
            export_run(run=tmp_path / folder, output=tmp_path / "m.safetensors")


def test_words_unknown_left_out_and_none() -> None:
    table = WordTable(["a", "man", "."], np.eye(3, dtype=np.float32), max_words=3)
    sentence = table.sentence("A Man zyx walks .")
    assert sentence.words == ["a", "man", "zyx"]
    assert sentence.unknown_words == ["zyx"]
    assert sentence.left_out == ["walks", "."]
    np.testing.assert_array_equal(sentence.vectors, [[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    for text in ("  ", "zyx .", "."):
        with pytest.raises(QueryError):
            table.sentence(text)


def test_words_come_from_packed_vectors_and_words_with_signs_are_words(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt.gz"
    path.write_bytes(gzip.compress(b"o'clock 1 0\nman 0 1\n. 1 1\n"))
    table = read_words(path, most=10, max_words=3)
    assert table.sentence("o'clock").unknown_words == []
    with pytest.raises(QueryError, match="no word"):
        table.sentence(".")


@pytest.mark.parametrize("steps", [1, 7, 8, 9, 13, 40, 101])
def test_stretches_share_out_all_steps_and_overlap_by_half(steps: int) -> None:
    stretches = plan_stretches(steps, max_steps=8)
    owned = [step for each in stretches for step in range(each.own_begin, each.own_end)]
    assert owned == list(range(steps))
    for each in stretches:
        assert each.begin <= each.own_begin < each.own_end <= each.end
        assert each.end - each.begin == min(steps, 8)
    for one, following in itertools.pairwise(stretches):
        assert one.end - following.begin >= 4


def test_a_stretch_without_the_moment_does_not_win_by_its_own_certainty() -> None:
    """The first stretch is sure of a span, but nothing lies inside; the second is less sure, but something does."""
    start = torch.tensor([[0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]])
    end = torch.tensor([[0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]])
    inside = torch.tensor([[-6.0, -6.0, -6.0, -6.0], [-6.0, -6.0, 6.0, -6.0]])
    times = np.arange(7.0)
    stretches = [Stretch(0, 4, 0, 3), Stretch(2, 6, 3, 6)]
    common = {"top": 1, "nms_threshold": 0.5, "alone": False}
    prediction = BoundaryPrediction(start, end, inside)
    results = [stretch_result(prediction, k, each, times[:-1], times[1:], **common) for k, each in enumerate(stretches)]
    moments, curve = merge(results, times[:-1], times[1:], top=1, nms_threshold=0.5)
    # P_start = P_end = e^2 / (e^2 + 3) in the second stretch, whose third step is the video's fifth.
    share = np.exp(2) / (np.exp(2) + 3)
    assert (moments[0].start_sec, moments[0].end_sec) == (4.0, 5.0)
    assert moments[0].score == pytest.approx(share**2 / (1 + np.exp(-6)), rel=1e-5)
    assert len(curve.shares["start"]) == len(curve.shares["inside"]) == 6
    # Without P_in the unnormalised logits decide, and the first one's are larger.
    silent = BoundaryPrediction(start, end, None)
    results = [stretch_result(silent, k, each, times[:-1], times[1:], **common) for k, each in enumerate(stretches)]
    assert merge(results, times[:-1], times[1:], top=1, nms_threshold=0.5)[0][0].start_sec == 1.0


def _features() -> VideoFeatures:
    edges = np.arange(5.0)
    return VideoFeatures(np.ones((4, 32), dtype=np.float32), edges[:-1], edges[1:])


def test_features_are_found_by_content_and_settings(tmp_path: Path) -> None:
    video, copy = tmp_path / "a.mp4", tmp_path / "b.mp4"
    video.write_bytes(b"content")
    copy.write_bytes(b"content")
    cache = FeatureCache(tmp_path / "cache", {"stride": 8})
    assert cache.get(cache.content(video)) is None
    cache.put(cache.content(video), _features())
    found = cache.get(cache.content(copy))
    np.testing.assert_array_equal(found.features, _features().features)
    assert FeatureCache(tmp_path / "cache", {"stride": 4}).get(cache.content(video)) is None
    before = cache.content(video)
    video.write_bytes(b"something else")
    assert cache.content(video) != before
    path = cache.path(before)
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    assert cache.get(before) is None
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 0x80]))  # the last number's sign
    assert cache.get(before) is None
    path.write_bytes(whole)
    assert cache.get(before) is not None


@pytest.mark.timeout(60)
def test_a_pipe_that_is_called_a_video_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(OSError, match="it is no regular file"):
        FeatureCache(tmp_path / "cache", {}).content(tmp_path / "pipe.mp4")


def test_a_file_that_was_written_in_place_is_another_one(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"content")
    cache = FeatureCache(tmp_path / "cache", {})
    before, facts = cache.content(video), video.stat()
    with video.open("r+b") as file:
        file.write(b"CONTENT")
    os.utime(video, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert cache.content(video) != before


def test_weights_in_the_cache_are_known_by_content(tmp_path: Path) -> None:
    path = unpacked(b"weights", ".safetensors", tmp_path)
    path.write_bytes(b"WEIGHTS")
    assert unpacked(b"weights", ".safetensors", tmp_path) == path
    assert path.read_bytes() == b"weights"


def test_a_full_disk_costs_what_is_kept_and_no_answer(made, tmp_path: Path, full_disk, caplog) -> None:
    data, folder = made
    cache, long = FeatureCache(tmp_path, {}), np.arange(1001.0)
    with full_disk():
        cache.put("ab", VideoFeatures(np.ones((1000, 2), np.float32), long[:-1], long[1:]))
        with pytest.raises(ShardError, match=r"m\.safetensors: cannot be written \(File too large\)\. Free some space"):
            export_run(run=folder / "run", output=tmp_path / "m.safetensors", vectors=data.vectors)
        with pytest.raises(ShardError, match="cannot be written"):
            unpacked(b"weights" * 1000, ".safetensors", tmp_path)
    assert "nothing can be kept there" in caplog.text and cache.get("ab") is None


def test_a_second_question_extracts_nothing(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = made
    calls: list[Path] = []

    class Featurizer:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __call__(self, video: Path, progress: object) -> VideoFeatures:
            calls.append(video)
            return _features()

    monkeypatch.setattr(locator_module, "VideoFeaturizer", Featurizer)
    monkeypatch.setattr(locator_module, "recipe", lambda info: {"any": 1})
    video = tmp_path / "video.mp4"
    video.write_bytes(b"frames")
    for _ in range(2):  # the second one as a new process would
        one = Locator.load(folder / "model.safetensors", cache=tmp_path / "cache", device="cpu")
        assert len(one.locate(video, "we see the wave").moments) >= 1
        one.locate(video, "the noise appears")
    assert calls == [video]
    with pytest.raises(VideoError, match=r"none\.mp4"):
        one.locate(tmp_path / "none.mp4", "we see the wave")


def test_a_video_that_is_replaced_while_it_is_looked_at_is_not_kept(made, tmp_path, monkeypatch) -> None:
    video = tmp_path / "video.mp4"
    writing = [b"the old film", b"another film", b"another film"]

    def make(path: Path, progress: object) -> VideoFeatures:
        path.write_bytes(writing.pop(1))  # in the end the same bytes at another time
        return _features()

    monkeypatch.setattr(locator_module, "VideoFeaturizer", lambda *_, **__: make)
    monkeypatch.setattr(locator_module, "recipe", lambda info: {"any": 1})
    video.write_bytes(writing[0])
    one = Locator.load(made[1] / "model.safetensors", cache=tmp_path / "cache", device="cpu")
    with pytest.raises(VideoError, match=r"video\.mp4: the file changed while it was looked at"):
        one.locate(video, "we see the wave")
    assert not list((tmp_path / "cache").rglob("features/**/*.safetensors"))
    assert one.locate(video, "we see the wave").moments


def test_a_long_video_is_looked_at_in_stretches(made, tmp_path: Path) -> None:
    _, folder = made
    long = tmp_path / "long.h5"
    edges = np.arange(101.0)
    features = np.random.default_rng(0).normal(size=(100, 32)).astype(np.float32)
    write_features(long, {"v": (features, edges[:-1], edges[1:])})
    answer = Locator.load(folder / "model.safetensors", features=long, device="cpu").locate("v", "the wave appears")
    assert answer.stretches == 12  # ceil((100 - 16) / 8) + 1
    assert len(answer.curve.shares["start"]) == 100
    assert answer.duration_sec == 100.0
    assert [each.score for each in answer.moments] == sorted((each.score for each in answer.moments), reverse=True)


def test_at_hand_reads_no_video_and_forgetting_deletes(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = made
    monkeypatch.setattr(locator_module, "VideoFeaturizer", lambda *_, **__: lambda video, progress: _features())
    monkeypatch.setattr(locator_module, "recipe", lambda info: {"any": 1})
    video, copy = tmp_path / "video.mp4", tmp_path / "copy.mp4"
    video.write_bytes(b"frames")
    one = Locator.load(folder / "model.safetensors", cache=tmp_path / "cache", device="cpu")
    assert one.at_hand(video) is None
    asked = one.locate(video, "we see the wave")
    features = one.at_hand(video)
    assert one.answer("we see the wave", features, video=str(video)).plain() == asked.plain()
    copy.write_bytes(b"frames")
    assert one.at_hand(copy) is None  # the same content, which nobody has read yet
    one.features(copy)
    assert one.at_hand(copy) is features
    again = Locator.load(folder / "model.safetensors", cache=tmp_path / "cache", device="cpu")
    np.testing.assert_array_equal(again.at_hand(video).features, features.features)
    next((tmp_path / "cache" / "contents").glob("*.json")).with_name("damaged.json").write_bytes(b"{")
    one.forget(video)
    assert one.at_hand(video) is None
    np.testing.assert_array_equal(one.at_hand(copy).features, features.features)  # the other file keeps them
    one.forget(copy)
    assert not list((tmp_path / "cache" / "features").rglob("*.safetensors"))
    with pytest.raises(VideoError, match=r"none\.mp4"):
        one.at_hand(tmp_path / "none.mp4")


def test_near_copies_from_two_stretches_are_one_moment_and_p_in_counts_on_average() -> None:
    times = np.arange(7.0)
    stretches = [Stretch(0, 4, 0, 3), Stretch(2, 6, 3, 6)]
    none = np.zeros(3)
    results = [
        StretchResult(np.array([[1.0, 3.0], [0.0, 1.0]]), np.array([0.5, 0.1]), 0.0, {"start": none}, 1.0),
        StretchResult(np.array([[1.0, 3.4], [4.0, 6.0]]), np.array([0.4, 0.3]), 0.0, {"start": none}, 1.0),
    ]
    moments, _ = merge(results, times[:-1], times[1:], top=3, nms_threshold=0.5)
    assert [(each.start_sec, each.end_sec) for each in moments] == [(1.0, 3.0), (4.0, 6.0), (0.0, 1.0)]
    # A span of two steps, of which P_in says 1/2 each: half of P_start * P_end.
    start = torch.tensor([[0.0, 20.0, 0.0, 0.0]])
    end = torch.tensor([[0.0, 0.0, 20.0, 0.0]])
    prediction = BoundaryPrediction(start, end, torch.zeros(1, 4))
    common = {"top": 1, "nms_threshold": 0.5, "alone": False}
    result = stretch_result(prediction, 0, stretches[0], times[:-1], times[1:], **common)
    assert result.spans[0].tolist() == [1.0, 3.0]
    assert result.scores[0] == pytest.approx(0.5, rel=1e-5)


def test_a_model_says_what_it_learned_from_and_which_words_it_never_saw(made, tmp_path: Path) -> None:
    data, folder = made
    workflow = tmp_path / "work" / "toy" / "runs" / "i3d" / "ci_mha" / "seed_0"
    shutil.copytree(folder / "run", workflow)
    (tmp_path / "config.yaml").write_text("datasets: {toy: {title: Toy videos}}")
    told = export_run(run=workflow, output=tmp_path / "m.safetensors", vectors=data.vectors)
    assert re.search(r"m\.safetensors: CI-MHA, \d+ MB, for `vmr locate` and `vmr serve` with --model\.$", told)
    locator = Locator.load(tmp_path / "m.safetensors", features=data.features, device="cpu")
    seen = locator.model.info["vocabulary"]
    locator.model.words.words.append("zebra")  # a word with a vector that no training sentence has
    locator.model.words._row["zebra"] = 0
    answer = locator.locate("test006.mp4", f"the zebra {seen[-1]}")
    assert (answer.learned_from, answer.unseen_words) == ("30 sentences of Toy videos", ["zebra"])
    assert locator.alone == ""  # CI-MHA's P_in compares
    # A file from before says that it does not tell.
    old = read_model(tmp_path / "m.safetensors")
    for name in ("vocabulary", "learned_from"):
        del old.info[name]
    answer = Locator(old, features=data.features, device="cpu").locate("test006.mp4", "the wave")
    assert answer.learned_from.startswith("data that its file does not tell") and answer.unseen_words is None


@pytest.mark.parametrize(
    ("method", "why"),
    [("ci_mha_wo_ms", r"CI-MHA w/o MS .*are shares within one video"), ("scn", r"SCN .*were trained within a video")],
)
def test_methods_whose_scores_are_of_one_video_search_no_folder(made, tmp_path: Path, method: str, why: str) -> None:
    data, _ = made
    sizes = {"hidden": 16, "query_hidden": 8, "heads": 2, "max_steps": 16, "epochs": 1, "batch_size": 8}
    train_run(**data.inputs(), output_dir=tmp_path / "run", device="cpu", method=method, **sizes)
    export_run(run=tmp_path / "run", output=tmp_path / "m.safetensors", vectors=data.vectors)
    locator = Locator.load(tmp_path / "m.safetensors", features=data.features, device="cpu")
    with pytest.raises(ConfigError, match=why) as refused:
        refuse_search(locator)
    assert "cannot search several videos" in str(refused.value)
