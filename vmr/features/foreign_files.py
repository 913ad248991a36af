"""Feature files of other people, read video by video: nothing in them is trusted.

Layouts: `hdf5`, a dataset per video, plain or as a group with `c3d_features` (the official ActivityNet file);
`npy_folder`, a file per video (`.npy`, `.npz` with one array, `.pt` with one tensor). Names may have or lack the
`v_` of ActivityNet's ids.
"""

import pickle
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Float

from vmr.errors import FeatureError
from vmr.names import ImportLayout

_SUFFIXES = (".npy", ".npz", ".pt")
_GROUP_DATASET = "c3d_features"
# No honest array is larger: ten hours at three steps a second, 4,096 single-precision numbers each, are 1.8 GB.
_LARGEST_BYTES = 4 << 30
# What NumPy, torch and h5py raise for damaged and hostile files.
ARRAY_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, MemoryError, OverflowError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
FeatureReader = Callable[[str], Float[np.ndarray, "N D"] | None]


def open_source(source: Path, layout: ImportLayout) -> AbstractContextManager[FeatureReader]:
    """Open features that were made elsewhere.

    Args:
        source: the HDF5 file or the folder.
        layout: how the features lie in it.

    Returns:
        A context whose value reads a video: (steps, numbers), or None where the source has none.

    Raises:
        FeatureError: there is no such source; reading a video, that it is no array of that form.
    """
    return _hdf5_reader(source) if layout == "hdf5" else _folder_reader(source)


@contextmanager
def _hdf5_reader(source: Path) -> Iterator[FeatureReader]:
    try:
        file = h5py.File(source, "r", locking=False)
    except OSError as error:
        raise FeatureError(f"{source}: not a readable HDF5 file ({error}).") from error

    def read(video_id: str) -> Float[np.ndarray, "N D"] | None:
        try:
            name = next((name for name in _names(video_id) if file.get(name, getlink=True) is not None), None)
            if name is None:
                return None
            node = own(file, name)
            if isinstance(node, h5py.Group):
                if _GROUP_DATASET not in node and len(node) != 1:
                    held = ", ".join(node) or "nothing"
                    raise FeatureError(f"expected one dataset or {_GROUP_DATASET}, found {held}")
                node = own(node, _GROUP_DATASET if _GROUP_DATASET in node else next(iter(node)))
            return _two_dimensional(own_array(node))
        except ARRAY_ERRORS as error:
            raise FeatureError(f"cannot be read: {_first_line(error)}") from error

    with file:
        yield read


def own(group: h5py.Group, name: str) -> Any:
    """What a group holds itself: links can lead to any HDF5 file of the machine.

    Raises:
        FeatureError: it is a link, or not there.
    """
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise FeatureError(f"{name} is a link; copy into the file what it leads to")
    return group[name]


def own_array(node: object) -> np.ndarray:
    """The array of a dataset, which can be laid over the bytes of any other file, too.

    Raises:
        FeatureError: it is no dataset of the file itself, or claims more than an honest one has.
    """
    if not isinstance(node, h5py.Dataset) or node.external or node.is_virtual:
        raise FeatureError("expected a dataset in the file itself; copy into it what lies in other files")
    refuse_large(node.nbytes)
    return np.asarray(node[()])


def refuse_large(size_bytes: int) -> None:
    """Refuse an array by its size before it takes the memory.

    Raises:
        FeatureError: no honest array is so large.
    """
    if size_bytes > _LARGEST_BYTES:
        raise FeatureError(f"{size_bytes:,} bytes, more than any honest array has ({_LARGEST_BYTES:,})")


@contextmanager
def _folder_reader(source: Path) -> Iterator[FeatureReader]:
    if not source.is_dir():
        raise FeatureError(f"{source}: no such folder of feature files.")

    def read(video_id: str) -> Float[np.ndarray, "N D"] | None:
        path = file_in_folder(source, video_id)
        if path is None:
            return None
        try:
            if zipfile.is_zipfile(path):  # both .npz and .pt
                with zipfile.ZipFile(path) as archive:
                    refuse_large(sum(member.file_size for member in archive.infolist()))
            if path.suffix == ".pt":
                value = torch.load(path, map_location="cpu", weights_only=True)
                return _two_dimensional(value.detach().float().numpy() if isinstance(value, torch.Tensor) else value)
            # Mapped, a file that claims more than it holds is refused instead of taking the memory for it.
            loaded = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix == ".npy" else None)
            if path.suffix == ".npz":
                with loaded:
                    if len(loaded.files) != 1:
                        raise FeatureError(f"{path.name}: expected one array, found {len(loaded.files)}")
                    loaded = loaded[loaded.files[0]]
            return _two_dimensional(loaded)
        except ARRAY_ERRORS as error:
            raise FeatureError(f"{path.name}: cannot be read as an array ({_first_line(error)})") from error

    yield read


def file_in_folder(source: Path, video_id: str) -> Path | None:
    """The file that the layout `npy_folder` takes for a video, or None where the folder has none."""
    candidates = (source / f"{name}{suffix}" for name in _names(video_id) for suffix in _SUFFIXES)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _names(video_id: str) -> tuple[str, ...]:
    return (video_id, f"v_{video_id}", video_id.removeprefix("v_"))


def _two_dimensional(array: object) -> Float[np.ndarray, "N D"]:
    """(N, D) from (N, D), or from (N, D, 1, 1), (1, N, D) and the like; in half precision where it was, else in single.

    Raises:
        FeatureError: it is no array of numbers of that form.
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise FeatureError(f"expected an array of numbers, found {type(array).__name__}")
    if array.ndim > 2:
        sizes = [array.shape[0], *(size for size in array.shape[1:] if size > 1)]
        # A first axis of one before two others is a batch of one video, as networks give it.
        array = array.reshape(sizes[1:] if len(sizes) == 3 and sizes[0] == 1 else sizes)
    if array.ndim != 2 or not array.size:
        raise FeatureError(f"expected features of shape (steps, numbers), found {array.shape}")
    return array if array.dtype == np.float16 else array.astype(np.float32)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
