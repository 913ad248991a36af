"""Shards of videos: which video belongs to which, and files that survive a kill.

While a process works on a shard, every finished video has its own small HDF5 file in the folder
``{final name}.parts``. At the end they are gathered into the final file, which gets its name by a rename. So a
killed process loses the current video and nothing else, and no HDF5 file is written in place.

Snakemake deletes the final file before it starts a job again, be it for one sentence more in the annotations. A hard
link ``{final name}.kept`` lets the job find what it had finished, and takes no space. Only new or changed videos are
done.
"""

import functools
import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from vmr.storage.checksums import UNREADABLE, altered, seal, seal_file
from vmr.storage.files import atomic_path, sha256_json, write_text, writing
from vmr.storage.hdf5 import new_hdf5
from vmr.storage.locks import turn

logger = logging.getLogger(__name__)

# Attributes of a final file: digests of the settings that it was made with, and of these with the inputs, where no
# video failed. Then a dataset: JSON text of the row and fingerprint of every video.
_SETTINGS, _FINISHED, _ROWS = "made_with", "finished_for", "rows"


@dataclass(frozen=True)
class _Earlier:
    """A final file: row and fingerprint of each video, and what it was finished for (None where videos failed)."""

    path: Path
    rows: dict[str, dict[str, Any]]
    finished_for: str | None


class PartialShard:
    """The finished videos of a shard that is not complete yet. Several threads may add to it.

    One process works on a shard at a time; others wait, since jobs of a cluster outlive the Snakemake that began them.
    ``with`` frees the shard at the end; the finished videos are kept.

    Args:
        settings: all that determines the content (configuration, digest of the code, weights). Parts and a final file
            of other settings are not used.

    Raises:
        ShardError: the disk is full or the folder cannot be written.
    """

    def __init__(self, path: Path | str, *, settings: dict[str, Any]) -> None:
        self.path = Path(path)
        self.folder = self.path.with_name(self.path.name + ".parts")
        self._kept = self.path.with_name(self.path.name + ".kept")
        self._key = sha256_json(settings)
        self._adding = threading.Lock()
        key_file = self.folder / "settings.sha256"
        with writing(self.path), ExitStack() as undo:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            undo.enter_context(turn(self.path))
            if self.folder.exists() and (not key_file.exists() or key_file.read_text() != self._key):
                shutil.rmtree(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            for leftover in self.folder.glob(".*"):  # what a killed run was writing
                leftover.unlink()
            write_text(key_file, self._key)
            self._turn = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others work on this shard; the finished videos are kept. A second call does nothing."""
        self._turn.close()

    def finished(self, fingerprints: dict[str, str]) -> list[dict[str, Any]] | None:
        """The rows, if the shard was finished with these settings from these inputs, unaltered and without failures.

        The final file then gets its name again, if Snakemake deleted it. So a run that was killed late is not repeated,
        nor one that Snakemake starts again for unchanged inputs.

        Args:
            fingerprints: of every video of the shard, see `done`.

        Raises:
            ShardError: the folder cannot be written.
        """
        earlier = self._earlier
        if earlier.finished_for != self._digest(fingerprints):
            return None
        if earlier.path != self.path:
            with writing(self.path):
                self.path.unlink(missing_ok=True)
                os.link(earlier.path, self.path)
                os.utime(self.path)  # made now, as Snakemake sees it: newer than the inputs
        return [earlier.rows[video_id]["row"] for video_id in sorted(fingerprints)]

    def done(self, video_id: str, fingerprint: str) -> dict[str, Any] | None:
        """The row kept with a finished video, or None when it must be done (again): a part of another input is not
        used.
        """
        part = self._part(video_id)
        if not part.exists():
            kept = self._earlier.rows.get(video_id)
            return dict(kept["row"]) if kept is not None and kept["fingerprint"] == fingerprint else None
        try:
            with h5py.File(part, "r", locking=False) as file:
                if file.attrs["fingerprint"] != fingerprint:
                    return None
                row: dict[str, Any] = json.loads(file.attrs["row"])
                if altered(file):
                    raise ValueError("its checksum differs")
                return row
        except UNREADABLE as error:
            # After a loss of power a renamed file can be empty, or hold zeros.
            logger.warning("%s: the part of %s is damaged (%s) and is made again", part, video_id, error)
            return None

    def add(
        self,
        video_id: str,
        *,
        fingerprint: str,
        row: dict[str, Any],
        write: Callable[[h5py.File], None] | None = None,
    ) -> None:
        """Keep a finished video: its row, and what `write` puts into the part (None for a failed video).

        Raises:
            ShardError: the disk is full or the folder cannot be written.
        """
        with (
            writing(self.path),
            self._adding,
            atomic_path(self._part(video_id)) as temporary,
            new_hdf5(temporary) as file,
        ):
            file.attrs["fingerprint"] = fingerprint
            file.attrs["video_id"] = video_id
            file.attrs["row"] = json.dumps(row, ensure_ascii=False)
            if write is not None:
                write(file)
            for name in file:
                seal(file[name])

    def finish(
        self, video_ids: Iterable[str], *, attributes: dict[str, Any], fingerprints: dict[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """Gather the parts into the final file, which appears under its name when it is complete.

        A dataset or group ``name`` at the top of the part of video ``id`` becomes ``name/id`` of the final file.

        Args:
            video_ids: the videos of the shard; every one must have been added.
            attributes: of the final file; dictionaries and lists are stored as JSON text.
            fingerprints: marks the file as finished for these inputs; None when a later run should try failed videos
                again.

        Raises:
            ShardError: the disk is full or the folder cannot be written.
        """
        rows: dict[str, dict[str, Any]] = {}
        # Among the parts, so that a killed run leaves no half file beside the final one.
        temporary = self.folder / f".final{self.path.suffix}"
        with writing(self.path), ExitStack() as undo:
            undo.callback(temporary.unlink, missing_ok=True)  # after a failure; else it has its name
            before = h5py.File(self._earlier.path, "r", locking=False) if self._earlier.rows else nullcontext({})
            with new_hdf5(temporary) as final, before as earlier:
                for name, value in attributes.items():
                    final.attrs[name] = json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
                final.attrs[_SETTINGS] = self._key
                if fingerprints is not None:
                    final.attrs[_FINISHED] = self._digest(fingerprints)
                for video_id in sorted(video_ids):
                    if self._part(video_id).exists():
                        with h5py.File(self._part(video_id), "r", locking=False) as part:
                            rows[video_id] = {
                                "row": json.loads(part.attrs["row"]),
                                "fingerprint": part.attrs["fingerprint"],
                            }
                            for name in part:
                                part.copy(part[name], final.require_group(name), name=video_id)
                    else:
                        rows[video_id] = self._earlier.rows[video_id]
                        for name in earlier:
                            if name != _ROWS and video_id in earlier[name]:
                                earlier.copy(earlier[name][video_id], final.require_group(name), name=video_id)
                text = json.dumps(rows, ensure_ascii=False).encode("utf-8")
                final.create_dataset(_ROWS, data=np.frombuffer(text, np.uint8), compression="gzip")
                seal_file(final)
            with temporary.open("rb") as written:  # on the disk before the parts go, should power be lost then
                os.fsync(written.fileno())
            self._kept.unlink(missing_ok=True)
            with suppress(OSError):  # a file system without hard links
                os.link(temporary, self._kept)
            temporary.replace(self.path)
        return [kept["row"] for kept in rows.values()]

    def clear(self) -> None:
        """Remove the parts and free the shard; call it when everything derived from the rows is on disk."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    @functools.cached_property
    def _earlier(self) -> _Earlier:
        """The unaltered final file (up to gigabytes) of an earlier run with these settings; else one without videos."""
        for path in (self.path, self._kept):
            with suppress(*UNREADABLE), h5py.File(path, "r", locking=False) as file:
                if file.attrs.get(_SETTINGS) == self._key and not altered(file):
                    return _Earlier(path, json.loads(file[_ROWS][()].tobytes()), file.attrs.get(_FINISHED))
        return _Earlier(self.path, {}, None)

    def _part(self, video_id: str) -> Path:
        # A digest, since ids may hold characters or lengths that file systems refuse.
        return self.folder / f"{hashlib.sha256(video_id.encode('utf-8')).hexdigest()[:32]}.h5"

    def _digest(self, fingerprints: dict[str, str]) -> str:
        return sha256_json({"settings": self._key, "inputs": fingerprints})


def parts_of(path: Path) -> list[float]:
    """When each finished video of an incomplete shard was finished, in seconds since the epoch."""
    parts = path.with_name(path.name + ".parts").glob("[!.]*.h5")
    times = []
    for part in parts:
        with suppress(FileNotFoundError):  # the shard is being finished
            times.append(part.stat().st_mtime)
    return times
