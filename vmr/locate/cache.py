"""Features of videos that were asked about before, found by the content of the file and the extractor's settings."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from vmr.errors import FeatureError
from vmr.features.store import VideoFeatures
from vmr.files import atomic_path, sha256_file, sha256_json, write_json

log = logging.getLogger(__name__)


def default_cache() -> Path:
    """Where things are kept: `VMR_CACHE`, or the user's cache folder."""
    named = os.environ.get("VMR_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vmr"


class FeatureCache:
    """Feature files by content; nothing in it is needed, and all of it may be deleted at any time.

    Args:
        folder: where it lies; made when something is kept.
        recipe: everything that the features depend on besides the video.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        self.folder = folder
        self.recipe = dict(recipe)
        self._digest = sha256_json(self.recipe)[:16]

    def content(self, video: Path) -> str:
        """SHA-256 of a file, remembered for as long as its size, its time and its place on the disk stay the same.

        Raises:
            OSError: it cannot be read.
        """
        facts = video.stat()
        known_as = [str(video.resolve()), facts.st_size, facts.st_mtime_ns, facts.st_ino]
        note = self.folder / "contents" / f"{sha256_json(known_as[0])[:32]}.json"
        try:
            entry = json.loads(note.read_text(encoding="utf-8"))
            if entry["file"] == known_as:
                return str(entry["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        digest = sha256_file(video)
        self._keep(lambda: write_json(note, {"file": known_as, "sha256": digest}))
        return digest

    def path(self, content: str) -> Path:
        """Where the features of a video lie or would lie."""
        return self.folder / "features" / content[:2] / f"{content}-{self._digest}.safetensors"

    def get(self, content: str) -> VideoFeatures | None:
        """Features of a video, or None where they are not there, damaged, or made otherwise.

        Args:
            content: as `content` gives it.
        """
        path = self.path(content)
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                recipe = json.loads((file.metadata() or {})["vmr"])
                arrays = {name: file.get_tensor(name) for name in ("features", "start_sec", "end_sec")}
            if recipe != json.loads(json.dumps(self.recipe)):
                return None
            return VideoFeatures(**arrays)
        except FileNotFoundError:
            return None
        except (OSError, safetensors.SafetensorError, KeyError, ValueError, FeatureError) as error:
            log.warning("%s: made again, since it is damaged (%s)", path, error)
            return None

    def put(self, content: str, video: VideoFeatures) -> None:
        """Keep the features of a video; a full or read-only disk costs the next question time, nothing else."""
        arrays = {"features": video.features, "start_sec": video.start_sec, "end_sec": video.end_sec}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}

        def write() -> None:
            with atomic_path(self.path(content)) as temporary:
                metadata = {"vmr": json.dumps(self.recipe, sort_keys=True)}
                safetensors.numpy.save_file(arrays, temporary, metadata=metadata)

        self._keep(write)

    def _keep(self, write: Any) -> None:
        try:
            write()
        except OSError as error:
            log.warning("%s: nothing can be kept there (%s); set VMR_CACHE to another folder", self.folder, error)
