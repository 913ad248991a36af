"""Features of videos of earlier questions, found by the content of the file and the extractor's settings."""

import errno
import hashlib
import json
import logging
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from vmr.errors import FeatureError
from vmr.features.store import VideoFeatures
from vmr.storage.files import atomic_path, sha256_file, sha256_json, write_json

log = logging.getLogger(__name__)

_SHA256 = "sha256"


class FeatureCache:
    """Feature files by content and by all else that they depend on, the recipe. The user may delete all of it at any
    time.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        self.folder = folder
        self.recipe = dict(recipe)
        self._digest = sha256_json(self.recipe)[:16]
        self._known: dict[str, tuple[list[Any], str]] = {}

    def content(self, video: Path) -> str:
        """SHA-256 of a file, remembered while its size, its times and its inode stay the same.

        Raises:
            OSError: the file cannot be read.
        """
        known = self.known_content(video)
        if known is not None:
            return known
        known_as = _known_as(video)
        digest = sha256_file(video)
        self._known[known_as[0]] = (known_as, digest)
        self._keep(lambda: write_json(self._note(known_as), {"file": known_as, "sha256": digest}))
        return digest

    def known_content(self, video: Path) -> str | None:
        """As `content`, but None for an unknown file, which may have gigabytes to read.

        Raises:
            OSError: the file does not exist.
        """
        known_as = _known_as(video)
        entry = self._known.get(known_as[0])
        if entry is not None and entry[0] == known_as:
            return entry[1]
        file, content = _noted(self._note(known_as))
        return content if file == known_as else None

    def forget(self, video: Path) -> None:
        """Delete everything kept of a file that no other file has; call it before the file is deleted."""
        try:
            known_as = _known_as(video)
            content = self.known_content(video)
            self._note(known_as).unlink(missing_ok=True)
            self._known.pop(known_as[0], None)
            if content is not None and not self._has_other_file(content):
                self.path(content).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s: features of %s could not be deleted (%s)", self.folder, video.name, error)

    def path(self, content: str) -> Path:
        """The file for the features of a video, whether it exists or not."""
        return self.folder / "features" / content[:2] / f"{content}-{self._digest}.safetensors"

    def get(self, content: str) -> VideoFeatures | None:
        """Features of a video by its `content`; None where they are missing, damaged, or of another recipe."""
        path = self.path(content)
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                recipe = json.loads(metadata["vmr"])
                arrays = {name: file.get_tensor(name) for name in ("features", "start_sec", "end_sec")}
            if recipe != json.loads(json.dumps(self.recipe)) or _SHA256 not in metadata:
                return None
            if metadata[_SHA256] != _digest_of(arrays):
                raise ValueError("its checksum differs")
            return VideoFeatures(**arrays)
        except FileNotFoundError:
            return None
        except (OSError, safetensors.SafetensorError, KeyError, ValueError, FeatureError) as error:
            log.warning("%s: made again, since it is damaged (%s)", path, error)
            return None

    def put(self, content: str, video: VideoFeatures) -> None:
        """Keep the features of a video; on a full or read-only disk the next question makes them again."""
        arrays = {"features": video.features, "start_sec": video.start_sec, "end_sec": video.end_sec}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}

        def write() -> None:
            with atomic_path(self.path(content)) as temporary:
                metadata = {"vmr": json.dumps(self.recipe, sort_keys=True), _SHA256: _digest_of(arrays)}
                # Not written by safetensors, whose errors are not those of the system.
                temporary.write_bytes(safetensors.numpy.save(arrays, metadata=metadata))

        self._keep(write)

    def _has_other_file(self, content: str) -> bool:
        notes = map(_noted, (self.folder / "contents").glob("*.json"))
        return any(noted == content and Path(file[0]).exists() for file, noted in notes)

    def _note(self, known_as: list[Any]) -> Path:
        return self.folder / "contents" / f"{sha256_json(known_as[0])[:32]}.json"

    def _keep(self, write: Any) -> None:
        try:
            write()
        except OSError as error:
            log.warning("%s: nothing can be kept there (%s); set VMR_CACHE to another folder", self.folder, error)


def _known_as(video: Path) -> list[Any]:
    facts = video.stat()
    if not stat.S_ISREG(facts.st_mode):  # a pipe would be waited for
        raise OSError(errno.EINVAL, "it is no regular file")
    # The time of change too, since tools that copy in place set the other one.
    return [str(video.resolve()), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]


def _noted(path: Path) -> tuple[list[Any], str]:
    """The file that a note is of, as `_known_as` says it, and its content; both empty where nothing can be read."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return list(noted["file"]), str(noted["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return [], ""


def _digest_of(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()
