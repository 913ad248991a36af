"""Fixtures of the tests of the page."""

from pathlib import Path

import clips
import pytest
import served
from starlette.testclient import TestClient

from vmr.serve.app import build_app
from vmr.serve.guard import access_for


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """An exported model without an extractor."""
    return served.write_small_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """A second of H.264."""
    return clips.render(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=24)


@pytest.fixture
def folder(tmp_path, clip):
    """Videos to offer; beside it, one that is not."""
    folder = tmp_path / "videos"
    (folder / "sub").mkdir(parents=True)
    (folder / "kitchen.mp4").write_bytes(clip.read_bytes())
    (folder / "sub" / "Garden Door.webm").write_bytes(b"garden")
    (folder / "broken.mp4").write_bytes(b"broken")
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_bytes(b"hidden")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    return folder


@pytest.fixture
def page(monkeypatch, tmp_path, model, folder):
    """What is behind the page, with an extractor that takes no time (`page.quick`)."""
    locator, quick = served.quick_locator(monkeypatch, model, tmp_path / "cache")
    with served.closing(locator, folder=folder, uploads=tmp_path / "uploads", limits=served.LIMITS) as page:
        page.quick = quick
        yield page


@pytest.fixture
def client(page):
    """A browser on the same machine."""
    access = access_for("127.0.0.1", port=8000, token=None)
    with TestClient(build_app(page, access), "http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def ids(client):
    """Ids of the offered videos by their names."""
    return {video["name"]: video["id"] for video in client.get("/api/videos").json()["videos"]}
