"""Fixtures that render small clips of numbered frames and read the numbers again."""

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("vmr_tests_clips", Path(__file__).parents[2] / "clips.py")
clips = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(clips)


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
