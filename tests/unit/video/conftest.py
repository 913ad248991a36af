"""Fixtures that render small clips of numbered frames and read the numbers again."""

from pathlib import Path

import clips
import pytest

from vmr.errors import VideoError
from vmr.video import reader
from vmr.video.processes import DecordServer


@pytest.fixture(scope="module")
def decord():
    with DecordServer() as running:
        yield running


@pytest.fixture
def refuse_decord(monkeypatch):
    """Makes decord fail, so that ffmpeg steps in."""

    def refuse(*_, **__):
        raise VideoError("decord: was told to fail")

    return lambda: monkeypatch.setattr(reader, "_decode_with_decord", refuse)


@pytest.fixture
def render_clip(tmp_path):
    def make(name: str, *options: object, fps: str = "24", frames: int | None = None) -> Path:
        return clips.render(tmp_path / name, *(options or ("-c:v", "libx264", "-bf", "2")), fps=fps, frames=frames)

    return make


@pytest.fixture
def run_ffmpeg():
    return clips.ffmpeg


@pytest.fixture
def read_numbers():
    return clips.numbers_of
