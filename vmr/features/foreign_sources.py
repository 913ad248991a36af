"""Sources of features that were made elsewhere, opened by the settings of an import and read video by video."""

import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from vmr.config.feature_sections import ImportSettings
from vmr.errors import FeatureError
from vmr.features.foreign_files import (
    ARRAY_ERRORS,
    SUFFIXES,
    array_in_file,
    array_in_hdf5,
    content_of,
    first_line,
    two_dimensional,
)
from vmr.features.foreign_names import HeldNames, Pattern, joined_source, name_one, what_is_held
from vmr.features.store import GROUPS, FeatureStore, VideoFeatures
from vmr.names import ImportLayout
from vmr.storage.checksums import UNREADABLE, links_of

_LENGTHS_DIFFER = 0.05  # of joined sources, at most; or two steps
_FEW_GROUPS = 8  # at the root of a file whose videos lie in groups of kinds
ONE_FILE = (".npz", ".pt", ".pth", ".safetensors")  # dictionaries with an array per video
_MOST_LISTED = 20_000  # names that are looked at for a message


class FeatureSource:
    """Features that were made elsewhere: called with a video's id, it gives (steps, numbers), or None without any.

    Attributes:
        notes: by video what was done to its arrays, where they were not taken as they are.
    """

    _names: HeldNames  # by which its videos are found, in the first place where they may lie

    def __init__(self, path: Path, pattern: str | None = None) -> None:
        self.path, self._by_pattern = path, bool(pattern)
        self._pattern = Pattern.of(pattern) if pattern else Pattern()
        self.notes: dict[str, str] = {}

    def __call__(self, video_id: str) -> Float[np.ndarray, "N D"] | None:
        """Read a video.

        Raises:
            FeatureError: what is there is no array of that form.
        """
        raise NotImplementedError

    @property
    def made(self) -> dict[str, Any] | None:
        """The provenance of a file of ours, which its videos keep; None for those of others."""
        return None

    def seconds(self, video_id: str) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]] | None:
        """Starts and ends of the steps of the video that was read last, where a file of ours has them."""
        return None

    def files_of(self, video_id: str) -> list[Path]:
        """Files of folders that hold a video."""
        return []

    def told(self, video_ids: Sequence[str]) -> str:
        """What the source holds instead of these videos, as sentences."""
        raise NotImplementedError

    def nearest(self, video_id: str) -> str:
        """End of a message about a video that is not there: the name that may be meant."""
        return self._names.nearest(video_id)

    def _shaped(self, array: object, video_id: str) -> Float[np.ndarray, "N D"]:
        shaped, note = two_dimensional(array)
        if note:
            self.notes[video_id] = note
        return shaped


@contextmanager
def open_source(settings: ImportSettings) -> Iterator[FeatureSource]:
    """Open features that were made elsewhere, with the sources that are joined to them.

    Raises:
        FeatureError: there is no such source; reading a video, that it is no array of that form.
    """
    with ExitStack() as stack:
        first = _opened(Path(settings.source), settings.layout, settings.pattern, stack)
        others = [_opened(*joined_source(entry), stack) for entry in settings.join]
        yield _Joined([first, *others], transposed=settings.transposed)


def _opened(path: Path, layout: ImportLayout, pattern: str | None, stack: ExitStack) -> FeatureSource:
    if path.exists() and path.is_dir() != (layout == "npy_folder"):
        kind, right = ("folder", "npy_folder") if path.is_dir() else ("file", "hdf5")
        raise FeatureError(f"{path}: is a {kind}, for which `layout: {right}` stands, not `{layout}`.")
    if layout == "npy_folder":
        return _Folder(path, pattern)
    if path.suffix.lower() in ONE_FILE:
        return _Dictionary(path, pattern)
    try:
        file = stack.enter_context(h5py.File(path, "r", locking=False))
    except OSError as error:
        raise FeatureError(
            f"{path}: not a readable HDF5 file ({error}). One file of all videos may also be {', '.join(ONE_FILE)}."
        ) from error
    if not pattern and _is_ours(file):
        return _Ours(path, stack.enter_context(FeatureStore(path)), links_of(file))
    return _Hdf5(path, pattern, file)


def _is_ours(file: h5py.File) -> bool:
    """Whether extraction, merge or import of this package wrote a file."""
    try:
        return "extractor" in (told_by(file) or {}) and set(GROUPS) <= set(file)
    except UNREADABLE:  # of a damaged file, which is told where it is read
        return False


def told_by(file: h5py.File) -> dict[str, Any] | None:
    """What an HDF5 file says of its making, where it does so as our own files do."""
    try:
        told = json.loads(file.attrs["provenance"])
    except UNREADABLE:
        return None
    return told if isinstance(told, dict) else None


class _Joined(FeatureSource):
    """Several sources side by side: the numbers of each step one after the other."""

    def __init__(self, sources: list[FeatureSource], *, transposed: bool) -> None:
        super().__init__(sources[0].path)
        self._sources, self._transposed = sources, transposed

    def __call__(self, video_id: str) -> Float[np.ndarray, "N D"] | None:
        arrays = [source(video_id) for source in self._sources]
        lacking = [source for source, array in zip(self._sources, arrays, strict=True) if array is None]
        if len(lacking) == len(arrays):
            return None
        if lacking:
            near = lacking[0].nearest(video_id)
            raise FeatureError(f"not in {lacking[0].path}{near}, though other sources have it")
        found = [array.T if self._transposed else array for array in arrays if array is not None]
        notes = [source.notes[video_id] for source in self._sources if video_id in source.notes]
        steps = [len(array) for array in found]
        if max(steps) - min(steps) > max(2, _LENGTHS_DIFFER * max(steps)):
            told = ", ".join(f"{own.path}: {count:,}" for own, count in zip(self._sources, steps, strict=True))
            raise FeatureError(f"the sources to join have other numbers of steps ({told}); make them at one stride")
        if max(steps) > min(steps):
            notes.append("the joined sources differ by a few steps, the shorter one counts")
        if notes:
            self.notes[video_id] = "; ".join(notes)
        return found[0] if len(found) == 1 else np.concatenate([array[: min(steps)] for array in found], axis=1)

    def files_of(self, video_id: str) -> list[Path]:
        return [path for source in self._sources for path in source.files_of(video_id)]

    @property
    def made(self) -> dict[str, Any] | None:
        return self._sources[0].made if len(self._sources) == 1 and not self._transposed else None

    def seconds(self, video_id: str) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]] | None:
        return self._sources[0].seconds(video_id) if self.made is not None else None

    def told(self, video_ids: Sequence[str]) -> str:
        return self._sources[0].told(video_ids)

    def nearest(self, video_id: str) -> str:
        return self._sources[0].nearest(video_id)


class _Folder(FeatureSource):
    """A file per video."""

    def __init__(self, path: Path, pattern: str | None) -> None:
        super().__init__(path, pattern)
        if not path.is_dir():
            raise FeatureError(f"{path}: no such folder of feature files.")
        places = [path / self._pattern.folder]
        if not pattern and len(folders := [entry for entry in path.iterdir() if entry.is_dir()]) <= _FEW_GROUPS:
            places += sorted(folders)  # train/ID.npy beside test/ID.npy
        named = [_files_by_key(place, self._pattern if pattern else None) for place in places]
        self._held = [
            (place, HeldNames(names, by_pattern=self._by_pattern)) for place, names in zip(places, named, strict=True)
        ]
        self._names = self._held[0][1]

    def _file(self, video_id: str) -> tuple[Path, str] | None:
        paths = [place / name for place, held in self._held for name in held.find(video_id)]
        if not paths:
            return None
        paths = [path for path in paths if path.parent == self._held[0][0]] or paths
        if len(paths) > 1:
            names = [path.relative_to(self.path).as_posix() for path in paths]
            raise FeatureError(f"several files hold it {name_one(names, video_id)}")
        path, inside = paths[0], self._pattern.inside
        while inside and path.is_dir():
            part, _, inside = inside.partition("/")
            path /= part
        return (path, inside) if path.is_file() else None

    def __call__(self, video_id: str) -> Float[np.ndarray, "N D"] | None:
        found = self._file(video_id)
        if found is None:
            return None
        path, inside = found
        try:
            return self._shaped(array_in_file(path, inside), video_id)
        except ARRAY_ERRORS as error:
            raise FeatureError(f"{path.name}: cannot be read as an array ({first_line(error)})") from error
        except FeatureError as error:
            raise FeatureError(f"{path.name}: {error}") from error

    def files_of(self, video_id: str) -> list[Path]:
        found = self._file(video_id)
        if found is None:
            raise FeatureError(f"{self.path}: the file of {video_id} went away during the import. Start again.")
        return [found[0]]

    def told(self, video_ids: Sequence[str]) -> str:
        listed = itertools.islice(self.path.rglob("*"), _MOST_LISTED)
        names = sorted(path.relative_to(self.path).as_posix() for path in listed if path.is_file())
        return what_is_held(names, video_ids, read=lambda name: name.lower().endswith(SUFFIXES))


def _files_by_key(folder: Path, pattern: Pattern | None) -> list[tuple[str, str]]:
    """What stands for the id in the names of the files of features in a folder, and the names."""
    there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    if pattern:
        return [(key, name) for name in there if (key := pattern.key(name)) is not None]
    return [
        (name[: -len(suffix)], name)
        for name in there
        for suffix in SUFFIXES
        if name.lower().endswith(suffix) and len(name) > len(suffix)
    ]


class _Dictionary(FeatureSource):
    """An array per video in one file of NumPy, torch or safetensors, which is held in memory."""

    def __init__(self, path: Path, pattern: str | None) -> None:
        super().__init__(path, pattern)
        try:
            held = content_of(path)
        except ARRAY_ERRORS as error:
            raise FeatureError(f"{path}: cannot be read ({first_line(error)}).") from error
        if not isinstance(held, dict):
            raise FeatureError(
                f"{path}: one array for all videos; expected one for each, by id. Save a dictionary of them."
            )
        if not held:
            raise FeatureError(
                f"{path}: no arrays in it; expected one for each video, by id. Dictionaries in those are not read."
            )
        self._arrays = held
        keys = [(key, name) for name in held if (key := self._pattern.key(name)) is not None]
        self._names = HeldNames(keys, by_pattern=self._by_pattern)

    def __call__(self, video_id: str) -> Float[np.ndarray, "N D"] | None:
        names = self._names.find(video_id)
        if len(names) > 1:
            raise FeatureError(f"several arrays hold it {name_one(names, video_id)}")
        return self._shaped(self._arrays[names[0]], video_id) if names else None

    def told(self, video_ids: Sequence[str]) -> str:
        return what_is_held(list(self._arrays)[:_MOST_LISTED], video_ids, read=lambda _: True)


class _Hdf5(FeatureSource):
    """A dataset or group per video, at the root of the file or in the one group there that has it."""

    def __init__(self, path: Path, pattern: str | None, file: h5py.File) -> None:
        super().__init__(path, pattern)
        self._file = file

    @functools.cached_property
    def _held(self) -> list[tuple[h5py.Group, HeldNames]]:
        """Groups in which videos are looked for, the first one first. Listed late: damage is then that of a video."""
        groups: list[h5py.Group] = [self._file]
        for part in filter(None, self._pattern.folder.split("/")):
            if not _is_group(groups[0], part):
                held = ", ".join(list(groups[0])[:5]) or "nothing"
                raise FeatureError(f"no group {part} in it; it holds {held}")
            groups = [groups[0][part]]
        if not self._by_pattern and len(groups[0]) <= _FEW_GROUPS:
            groups += [groups[0][name] for name in groups[0] if _is_group(groups[0], name)]
        keys = [[(key, name) for name in group if (key := self._pattern.key(name)) is not None] for group in groups]
        return [(group, HeldNames(own, by_pattern=self._by_pattern)) for group, own in zip(groups, keys, strict=True)]

    def __call__(self, video_id: str) -> Float[np.ndarray, "N D"] | None:
        try:
            places = [(group, name) for group, held in self._held for name in held.find(video_id)]
            if not places:
                return None
            places = [own for own in places if own[0] is self._held[0][0]] or places
            if len(places) > 1:
                names = [f"{group.name}/{name}".lstrip("/") for group, name in places]
                raise FeatureError(f"several datasets hold it {name_one(names, video_id)}")
            return self._shaped(array_in_hdf5(*places[0], self._pattern.inside), video_id)
        except ARRAY_ERRORS as error:
            raise FeatureError(f"cannot be read: {first_line(error)}") from error

    def told(self, video_ids: Sequence[str]) -> str:
        names = [f"{group.name}/{name}".lstrip("/") for group, _ in self._held for name in group]
        return what_is_held(names[:_MOST_LISTED], video_ids, read=lambda _: True)

    def nearest(self, video_id: str) -> str:
        return self._held[0][1].nearest(video_id)


class _Ours(FeatureSource):
    """A feature file of ours: a merged one with the shards beside it that it links to, or a shard."""

    def __init__(self, path: Path, store: FeatureStore, links: set[str]) -> None:
        super().__init__(path)
        for link in links:  # they could lead to any HDF5 file of the machine
            if Path(link).is_absolute() or ".." in Path(link).parts:
                raise FeatureError(
                    f"{path}: links to {link}, which does not lie beside it. Merge the shards again there."
                )
        self._store, self._names = store, HeldNames(((name, name) for name in store.video_ids), by_pattern=False)
        self._read: VideoFeatures | None = None

    @property
    def made(self) -> dict[str, Any] | None:
        return self._store.provenance

    def __call__(self, video_id: str) -> Float[np.ndarray, "N D"] | None:
        names = self._names.find(video_id)
        if len(names) > 1:
            raise FeatureError(f"several videos of it may be meant ({', '.join(names)}); rename one")
        self._read = self._store.get(names[0]) if names else None
        return None if self._read is None else self._read.features

    def seconds(self, video_id: str) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]] | None:
        assert self._read is not None
        return self._read.start_sec, self._read.end_sec

    def told(self, video_ids: Sequence[str]) -> str:
        return what_is_held(self._store.video_ids[:_MOST_LISTED], video_ids, read=lambda _: True)


def _is_group(group: h5py.Group, name: str) -> bool:
    return isinstance(group.get(name, getlink=True), h5py.HardLink) and group.get(name, getclass=True) is h5py.Group
