"""A small model and the page in front of it, for the tests of `vmr serve`."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import uvicorn
from safetensors.torch import save
from starlette.applications import Starlette

import vmr.locate.videos as locator_module
from vmr.errors import VideoError
from vmr.features.i3d import InceptionI3d
from vmr.features.store import VideoFeatures
from vmr.locate.extraction import Progress
from vmr.locate.locator import Locator
from vmr.locate.model_file import write_model
from vmr.locate.word_table import WordTable
from vmr.methods.build import build_network
from vmr.serve.app import Page
from vmr.serve.limits import Limits
from vmr.serve.run import listen

WORDS = ("a", "person", "opens", "the", "door", "timer", "runs")
STEPS = 6
LIMITS = Limits(max_upload_mb=0.2, max_uploads_mb=0.3, max_minutes=0.05, query_chars=80, waiting_videos=2)


def write_small_model(path: Path, *, extractor: bool = False) -> Path:
    """An exported model with random weights: it finds something in every video, no matter what.

    Args:
        path: the file.
        extractor: whether to put an I3D into it, also with random weights (50 MB).
    """
    torch.manual_seed(5)
    sizes = {
        "method": "ci_mha", "video_dim": 1024, "word_dim": 4, "max_steps": 16, "hidden": 16, "query_hidden": 8,
        "heads": 8, "dropout": 0.2, "lstm_dropout": 0.5,
    }  # fmt: skip
    sizes |= {"heads": 2, "dropout": 0.0, "lstm_dropout": 0.0, "alignment": "attention", "segmentation_weight": 1.0}
    weights = save(InceptionI3d().state_dict()) if extractor else b""
    features = {
        "extractor": "i3d", "window": 16, "stride": 8, "mode": "continuous", "padding": "edge", "fps": 24.0,
        "frames": {"fps": 24.0, "short_side": 256}, "pca": None,
        "weights": {"sha256": hashlib.sha256(weights).hexdigest()},
    }  # fmt: skip
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32)
    write_model(
        path,
        build_network(**sizes),
        WordTable(WORDS, vectors, max_words=25),
        info={"sizes": sizes, "method": "ci_mha", "features": features, "queries": {"max_words": 25}},
        files={"weights": weights} if extractor else {},
        pca={},
    )
    return path


class QuickFeatures:
    """Stands for the extractor, which takes seconds: half a second a step, from the name of the file.

    Attributes:
        made: files that were looked at.
        gate: cleared by a test that wants it to take long.
    """

    def __init__(self) -> None:
        self.made: list[Path] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, video: Path, progress: Progress) -> VideoFeatures:
        progress("features", 1, STEPS)
        self.entered.set()
        while not self.gate.wait(0.01):
            progress("features", 2, STEPS)
        if video.read_bytes() == b"broken":
            raise VideoError(f"{video}: moov atom not found. Try another file.")
        if video.read_bytes() == b"bug":
            raise ZeroDivisionError(str(video))
        self.made.append(video)
        edges = np.arange(STEPS + 1) / 2
        features = np.random.default_rng(len(video.name)).normal(size=(STEPS, 1024)).astype(np.float32)
        return VideoFeatures(features, edges[:-1], edges[1:])


def quick_locator(monkeypatch: pytest.MonkeyPatch, model: Path, cache: Path) -> tuple[Locator, QuickFeatures]:
    """A locator whose features take no time, and what stands for its extractor."""
    quick = QuickFeatures()
    monkeypatch.setattr(locator_module, "VideoFeaturizer", lambda *arguments, **options: quick)
    return Locator.load(model, cache=cache, device="cpu"), quick


@contextmanager
def closing(locator: Locator, *, folder: Path | None, uploads: Path, limits: Limits | None = None) -> Iterator[Page]:
    """The page, whose threads and processes end with the block."""
    page = Page(locator, folders=[folder] if folder else [], uploads=uploads, limits=limits or Limits())
    try:
        yield page
    finally:
        page.close()


def ended(client, job: str) -> dict:
    """What the page says of a job once it has ended."""
    for _ in range(6000):
        state = client.get(f"/api/jobs/{job}").json()
        if state["state"] not in ("waiting", "running"):
            return state
        time.sleep(0.01)
    raise AssertionError(state)


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """A server in a thread of this process; its address."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
