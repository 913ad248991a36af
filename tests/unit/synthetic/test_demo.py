import csv
import itertools
import json
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from sectioned import sectioned

from vmr.assets.glove_package import read_words
from vmr.assets.packages import installed_path
from vmr.assets.registry import get_asset
from vmr.config.datasets import RenderSettings
from vmr.errors import ShardError, VideoError
from vmr.storage.files import sha256_file
from vmr.synthetic import demo
from vmr.synthetic.demo import make_scene, render_demo
from vmr.synthetic.events import KINDS, Canvas
from vmr.synthetic.sentences import WORDS, sentences

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def scenes(split: str, count: int, seed: int = 1):
    return [make_scene(index, split=split, seed=seed, duration_sec=9.0) for index in range(count)]


def spans(scene):
    return sorted({(start, end) for start, end, _ in scene.moments})


def read_frames(path: Path, width: int, height: int) -> np.ndarray:
    command = ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_scene_has_three_events_of_three_sentences_inside_the_video():
    for scene in scenes("train", 40) + scenes("test", 12):
        assert len(scene.moments) == 9
        assert len(spans(scene)) == 3
        assert len({sentence for *_, sentence in scene.moments}) == 9
        edges = [edge for span in spans(scene) for edge in span]
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] <= scene.duration_sec
        assert all(end - start >= 0.8 for start, end in spans(scene))
        assert 0.93 * 9 < scene.duration_sec < 1.07 * 9


def test_scene_repeats_and_depends_on_every_argument():
    first = make_scene(3, split="train", seed=1, duration_sec=9.0)
    assert first == make_scene(3, split="train", seed=1, duration_sec=9.0)
    others = [(4, "train", 1), (3, "test", 1), (3, "train", 2)]
    assert all(
        first.graph != make_scene(index, split=split, seed=seed, duration_sec=9.0).graph
        for index, split, seed in others
    )


def test_no_constant_window_does_well():
    """The best of all windows reached 33 % at IoU 0.5 in the trial that the issue reports; 45 would be too easy."""
    parts = np.array(
        [
            (start / scene.duration_sec, end / scene.duration_sec)
            for scene in scenes("train", 40)
            for start, end in spans(scene)
        ]
    )
    best = 0.0
    for left, right in itertools.combinations(np.linspace(0, 1, 21), 2):
        overlap = np.clip(np.minimum(parts[:, 1], right) - np.maximum(parts[:, 0], left), 0, None)
        union = (parts[:, 1] - parts[:, 0]) + (right - left) - overlap
        best = max(best, float((overlap / union >= 0.5).mean()))
    assert 0.2 < best < 0.45


def test_rates_and_sizes_are_mixed_with_a_portrait():
    graphs = [scene.graph for scene in scenes("test", 12)]
    for rate in ("12", "15", "24000/1001", "25", "30000/1001", "30"):
        assert any(f"fps={rate}," in graph for graph in graphs)
    assert any(":size=240x320" in graph or "size=240x320:" in graph for graph in graphs)


def test_every_kind_has_words_and_appears():
    assert set(WORDS) == set(KINDS)
    assert len(KINDS) == 8
    text = " ".join(sentence for scene in scenes("train", 40) for *_, sentence in scene.moments)
    for word in ("fractal", "cells", "color bars", "counter", "gradient", "checkerboard", "static", "square"):
        assert word in text


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_sentences_are_different_and_plain(kind):
    made = sentences(random.Random(0), kind, count=30, fast=True, colours=("red", "white"), unseen=True)
    assert len(set(made)) == 30
    for sentence in made:
        assert sentence.endswith(".")
        assert "{" not in sentence
        assert sentence.replace(".", "").replace(" ", "").isalpha()
        assert sentence == sentence.lower()
        assert "#" not in sentence


def test_unseen_wordings_stay_out_of_training():
    train, test = (" ".join(s for scene in scenes(split, 60) for *_, s in scene.moments) for split in ("train", "test"))
    for words in ("ricochet", "psychedelic", "stopwatch", "camera films", "crackl"):
        assert words in test
        assert words not in train


def test_sentences_tell_the_truth_about_speed():
    slow = sentences(random.Random(1), "tiles", count=40, fast=False, colours=("red", "white"), unseen=False)
    assert not any(word in sentence for sentence in slow for word in ("quick", "rapid", "fast", "high speed"))
    assert any("slow" in sentence for sentence in slow)


def test_words_are_in_the_embedded_vectors(glove_words):
    text = " ".join(s for split in ("train", "test") for scene in scenes(split, 60) for *_, s in scene.moments)
    assert set(text.replace(".", "").split()) <= glove_words


@pytest.fixture
def glove_words():
    path = installed_path(get_asset("glove_6b_50d"), "words")
    if path is None:
        pytest.skip("the package of word vectors (envs/assets.txt) is not installed")
    return set(read_words(path))


@needs_ffmpeg
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_kind_renders_at_the_canvas(kind, tmp_path):
    """Every kind fills the canvas; two lots differ; what should move moves and the test card stands still."""
    pictures = []
    for lot in range(2):
        picture = KINDS[kind](random.Random(lot), Canvas(96, 128, "30000/1001"))
        path = tmp_path / f"{lot}.mkv"
        graph = f"{picture.graph},fps=30000/1001,format=rgb24,trim=end_frame=8"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-filter_complex", graph, "-c:v", "ffv1", "-pix_fmt", "bgr0", path], check=True
        )
        frames = read_frames(path, 96, 128)
        assert len(frames) == 8
        assert frames.std() > 5
        moved = float(np.abs(frames[0].astype(int) - frames[-1]).mean())
        assert (moved == 0) == (kind == "test_card")
        pictures.append(frames[0].astype(int))
    assert np.abs(pictures[0] - pictures[1]).mean() > 1


def rendered(output, **arguments):
    render_demo(output=output, **sectioned(RenderSettings, {"workers": 2} | arguments))


@needs_ffmpeg
def test_render_demo_writes_the_charades_layout(tmp_path):
    rendered(output=tmp_path / "demo", train_videos=2, test_videos=1, duration_sec=3.0)
    folder = tmp_path / "demo"
    names = set(files_of(folder))
    annotations = {f"demo_{split}.{kind}" for split in ("train", "test") for kind in ("csv", "txt")}
    videos = {"videos/train000.mp4", "videos/train001.mp4", "videos/test000.mp4"}
    assert names == annotations | videos | {"videos.sha256"}
    assert {path.name for path in folder.iterdir()} == annotations | {"videos", "videos.sha256"}

    listing = dict(reversed(line.split("  ")) for line in (folder / "videos.sha256").read_text().splitlines())
    assert listing == {name: sha256_file(folder / name) for name in videos}

    with (folder / "demo_train.csv").open() as file:
        lengths = {row["id"]: float(row["length"]) for row in csv.DictReader(file)}
    assert list(lengths) == ["train000", "train001"]
    lines = (folder / "demo_train.txt").read_text().splitlines()
    assert len(lines) == 18
    for line in lines:
        head, sentence = line.split("##")
        video_id, start, end = head.split()
        assert 0 <= float(start) < float(end) <= lengths[video_id]
        assert sentence.endswith(".")

    for index, rate in ((0, "12/1"), (1, "15/1")):
        command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", folder / f"videos/train{index:03d}.mp4"]
        (stream,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"]
        assert stream["codec_name"] == "h264"
        assert stream["avg_frame_rate"] == rate
        assert float(stream["duration"]) == pytest.approx(lengths[f"train{index:03d}"], abs=0.006)


@needs_ffmpeg
def test_cuts_lie_where_the_annotations_say(tmp_path):
    """At a boundary the picture changes far more than inside the events: the file, not the scene, is measured."""
    rendered(output=tmp_path, train_videos=1, test_videos=1, duration_sec=4.0, seed=2)
    frames = read_frames(tmp_path / "videos/train000.mp4", 320, 240).astype(int)
    changes = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    scene = make_scene(0, split="train", seed=2, duration_sec=4.0)
    cuts = {round(edge * 12) for span in spans(scene) for edge in span} - {0, len(frames)}
    assert len(cuts) >= 2
    still = [change for index, change in enumerate(changes, start=1) if index not in cuts]
    assert all(changes[cut - 1] > 3 * np.median(still) for cut in cuts)


@needs_ffmpeg
def test_rendering_again_gives_the_same_bytes_and_replaces_leftovers(tmp_path):
    rendered(output=tmp_path, train_videos=2, test_videos=1, duration_sec=3.0, workers=1)
    before = files_of(tmp_path)
    (tmp_path / "videos" / "train009.mp4").write_bytes(b"from an earlier, larger demo")
    rendered(output=tmp_path, train_videos=2, test_videos=1, duration_sec=3.0, workers=2)
    assert files_of(tmp_path) == before


@needs_ffmpeg
def test_failed_rendering_leaves_no_listing_and_keeps_the_old_videos(tmp_path, monkeypatch):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "old.mp4").write_bytes(b"old")
    (tmp_path / "videos.sha256").write_text("old")
    broken = demo.Scene("broken", 3.0, "nosuchsource=1[video]", ())
    monkeypatch.setattr(demo, "make_scene", lambda *_, **__: broken)
    with pytest.raises(VideoError, match=r"(?s)broken: ffmpeg cannot render .*nosuchsource"):
        rendered(output=tmp_path, train_videos=1, test_videos=1)
    assert files_of(tmp_path) == {"videos/old.mp4": b"old"}


def test_missing_ffmpeg_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VideoError, match="install ffmpeg"):
        rendered(output=tmp_path / "demo", train_videos=1, test_videos=1)


@pytest.mark.parametrize("step", ["mkdir", "write_text"])
def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path, monkeypatch, step):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    (tmp_path / "demo").mkdir()
    monkeypatch.setattr(demo, "_render_all", lambda *_, **__: None)
    monkeypatch.setattr(Path, step, full)
    with pytest.raises(ShardError, match=r"demo: cannot be written \(No space left on device\)"):
        rendered(output=tmp_path / "demo", train_videos=1, test_videos=1)
    assert not list((tmp_path / "demo").iterdir())
