"""The list of videos, curves of long videos, the queue at its end."""

import os
import threading

import numpy as np
import pytest

from vmr.errors import ConfigError
from vmr.locate.answers import Curve
from vmr.serve.answering import thinned
from vmr.serve.library import FolderVideos, Video
from vmr.serve.preparation import Preparation


def test_ids_are_those_of_names_and_names_can_be_anything(tmp_path):
    strange = os.fsdecode(b"caf\xe9.mp4")
    for name in (strange, "b.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / ".private").mkdir()
    for name in (".hidden.mp4", ".private/c.mp4"):
        (tmp_path / name).write_bytes(b"x")
    videos = FolderVideos([tmp_path]).all()
    assert sorted(video.name for video in videos.values()) == ["b.mp4", "caf\ufffd.mp4"]
    assert all(len(id) == 24 and int(id, 16) >= 0 for id in videos)
    (tmp_path / "b.mp4").write_bytes(b"another content")
    assert list(FolderVideos([tmp_path]).all()) == list(videos)
    assert FolderVideos([]).all() == {}
    with pytest.raises(ConfigError, match="no such folder"):
        FolderVideos([tmp_path / "none"])


def test_links_that_lead_out_of_the_folder_are_left_out(tmp_path):
    (tmp_path / "videos/sub").mkdir(parents=True)
    (tmp_path / "videos/sub/own.mp4").write_bytes(b"own")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/other.mp4").write_bytes(b"secret")
    for name, target in {"in.mp4": "sub/own.mp4", "out.mp4": "../secret.mp4", "etc.mp4": "/etc/passwd"}.items():
        (tmp_path / "videos" / name).symlink_to(target)
    (tmp_path / "videos/loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "videos/more").symlink_to("../more")
    named = tmp_path / "link"  # the folder itself may be one
    named.symlink_to("videos")
    for folder in (tmp_path / "videos", named):
        assert [video.name for video in FolderVideos([folder]).all().values()] == ["in.mp4", "sub/own.mp4"]


def test_several_folders_stand_before_the_names_of_their_videos(tmp_path):
    for name in ("a/films", "b/films", "b/clips"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.mp4").write_bytes(b"x")
    videos = FolderVideos([tmp_path / "a/films", tmp_path / "b/clips"]).all()
    assert [(video.name, video.path) for video in videos.values()] == [
        ("clips/x.mp4", tmp_path / "b/clips/x.mp4"),
        ("films/x.mp4", tmp_path / "a/films/x.mp4"),
    ]
    with pytest.raises(ConfigError, match="two folders are called films"):
        FolderVideos([tmp_path / "a/films", tmp_path / "b/films"])


def test_new_videos_are_seen_after_a_while(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("vmr.serve.library.time.monotonic", lambda: now[0])
    videos = FolderVideos([tmp_path])
    assert videos.all() == {}
    (tmp_path / "new.mp4").write_bytes(b"x")
    assert videos.all() == {}
    now[0] = 10.0
    assert [video.name for video in videos.all().values()] == ["new.mp4"]


def test_a_slow_folder_holds_up_only_the_first(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"x")
    videos = FolderVideos([tmp_path])
    known = videos.all()
    looking, gate = threading.Event(), threading.Event()

    def slowly(folder, before):
        looking.set()
        assert gate.wait(20)
        return []

    monkeypatch.setattr("vmr.serve.library._scan", slowly)
    videos._scan_at = 0.0
    seen = []
    first = threading.Thread(target=lambda: seen.append(videos.all()))
    first.start()
    assert looking.wait(60)
    assert videos.all() == known
    gate.set()
    first.join()
    assert seen == [{}]


@pytest.mark.parametrize("steps", [999, 1000, 1001, 2500])
def test_a_thinned_curve_keeps_its_peaks_and_its_time(steps):
    edges = np.linspace(0, 60, steps + 1)
    values = np.zeros(steps)
    values[steps // 3] = 0.9
    thin = thinned(Curve(edges[:-1], edges[1:], {"start": values, "end": values[::-1].copy()}), most=1000)
    start, end = thin.shares.values()
    assert len(start) == min(steps, 1000)
    assert start.max() == end.max() == 0.9
    at = int(start.argmax())
    assert thin.start_sec[at] <= edges[steps // 3] < thin.end_sec[at]
    assert (thin.start_sec[0], thin.end_sec[-1]) == (0, 60)
    np.testing.assert_array_equal(thin.start_sec[1:], thin.end_sec[:-1])


def test_closing_ends_what_runs_and_drops_what_waits(tmp_path):
    entered, steps = threading.Event(), []

    def make(path, progress):
        entered.set()
        while True:
            steps.append(path)
            progress("features", len(steps), 0)

    preparation = Preparation(make, most=5)
    one, two = (Video(name, name, tmp_path / name, 1) for name in ("one", "two"))
    job = preparation.ask(one)
    assert entered.wait(60)
    preparation.ask(two)
    assert preparation.busy("two")
    preparation.close()
    assert preparation.plain(job.id)["state"] == "stopped"
    assert set(steps) == {one.path}
    assert not preparation.busy("two")


def test_old_jobs_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr("vmr.serve.preparation._REMEMBERED", 3)
    preparation = Preparation(lambda path, progress: None, most=5)
    for number in range(10):
        job = preparation.ask(Video(str(number), "v", tmp_path / str(number), 1))
        while preparation.plain(job.id)["state"] != "done":
            pass
    assert len(preparation._jobs) == 4
    preparation.close()
