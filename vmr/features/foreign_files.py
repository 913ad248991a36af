"""Arrays in files of other people: nothing in them is trusted. `foreign_sources` finds the files of a video."""

from __future__ import annotations

import pickle
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError

from vmr.errors import FeatureError

if TYPE_CHECKING:
    import torch

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors")
# Of several arrays with two axes in one file or group, the one called so is taken.
_ARRAY_NAMES = ("c3d_features", "features", "feature", "feats", "feat")
_CROPS = (10, 5)
# No honest array is larger: ten hours at three steps a second, 4,096 single-precision numbers each, are 1.8 GB.
_LARGEST_BYTES = 4 << 30
# What NumPy, torch and h5py raise for damaged and hostile files.
ARRAY_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, MemoryError, OverflowError),
    SafetensorError,
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


def array_in_file(path: Path, inside: str) -> object:
    """What the file of a video holds: the array named `inside`, where the file has several.

    Raises:
        FeatureError: it holds several, or no array that may be read.
    """
    held = content_of(path)
    if not isinstance(held, dict):
        return held
    if len(held) == 1 and not inside:
        return next(iter(held.values()))
    return held[_chosen({name: own.shape for name, own in held.items()}, inside, path.suffix.lower())]


def content_of(path: Path) -> object:
    """The array of a file, or its arrays by name where it is a dictionary of them.

    Args:
        path: a file with one of `SUFFIXES`.

    Raises:
        FeatureError: it claims more than an honest file has.
    """
    if zipfile.is_zipfile(path):  # both .npz and .pt
        with zipfile.ZipFile(path) as archive:
            refuse_large(sum(member.file_size for member in archive.infolist()))
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        refuse_large(path.stat().st_size)
        from safetensors.torch import load_file

        return {name: _of_tensor(own) for name, own in load_file(path).items()}
    if suffix in (".pt", ".pth"):
        import torch

        try:
            value = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "Weights only load failed" not in str(error):
                raise
            raise ValueError(
                "holds more than tensors, such as arrays of NumPy, which are not loaded, since they may run code; save "
                "tensors alone"
            ) from error
        if isinstance(value, dict):
            return {str(name): _of_tensor(own) for name, own in value.items() if isinstance(own, torch.Tensor)}
        return _of_tensor(value) if isinstance(value, torch.Tensor) else value
    if suffix == ".npy" and _holds_objects(path):
        raise ValueError("holds Python objects, which are not loaded, since they may run code; save the array alone")
    # Mapped, a file that claims more than it holds is refused instead of taking the memory for it.
    loaded = np.load(path, allow_pickle=False, mmap_mode="r" if suffix == ".npy" else None)
    if suffix != ".npz":
        return loaded
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def _of_tensor(tensor: torch.Tensor) -> np.ndarray:
    own = tensor.detach()
    return (own.float() if own.is_floating_point() else own).numpy()  # NumPy has no bfloat16


def _holds_objects(path: Path) -> bool:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return bool(read(file)[2].hasobject)


def array_in_hdf5(group: h5py.Group, name: str, inside: str) -> np.ndarray:
    """The array of a dataset, or of a group: the one in it that is named `inside`, or that holds the features.

    Raises:
        FeatureError: the group holds several, or what is there is not in the file itself.
    """
    node = own(group, name)
    if isinstance(node, h5py.Group):
        if not inside and len(node) == 1:
            return own_array(own(node, next(iter(node))))
        within = {key: own(node, key) for key in node}
        shapes = {key: value.shape for key, value in within.items() if isinstance(value, h5py.Dataset)}
        return own_array(within[_chosen(shapes, inside, "")])
    return own_array(node)


def _chosen(shapes: dict[str, tuple[int, ...]], inside: str, suffix: str) -> str:
    """Which of several arrays holds the features: the one that is named, or the only one with two axes or more.

    Raises:
        FeatureError: there is none, or more than one.
    """
    held = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
    if inside:
        if inside not in shapes:
            raise FeatureError(f"no array {inside} in it, found {held}")
        return inside
    wide = [name for name, shape in shapes.items() if len(shape) > 1] or list(shapes)
    called = [name for name in _ARRAY_NAMES if name in wide]
    if called or len(wide) == 1:
        return called[0] if called else wide[0]
    if not wide:
        raise FeatureError("expected one array, found none; dictionaries in dictionaries are not read")
    raise FeatureError(f'expected one array, found {held}; name one, such as `pattern: "{{id}}{suffix}/{wide[0]}"`')


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


def two_dimensional(array: object) -> tuple[Float[np.ndarray, "N D"], str]:
    """(N, D) from (N, D), or from (N, D, 1, 1), (1, N, D) and the like; in half precision where it was, else in single.

    Crops of each step, ten or five of them, become their mean; the text beside the array says so.

    Raises:
        FeatureError: it is no array of numbers of that form.
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise FeatureError(f"expected an array of numbers, found {found}")
    note = ""
    if array.ndim > 2:
        sizes = [array.shape[0], *(size for size in array.shape[1:] if size > 1)]
        # A first axis of one before two others is a batch of one video, as networks give it; before three, with crops.
        batch = sizes[0] == 1 and (len(sizes) == 3 or (len(sizes) == 4 and set(sizes[1:3]) & set(_CROPS)))
        array = array.reshape(sizes[1:] if batch else sizes)
    crops = next((axis for axis in (1, 0) if array.ndim == 3 and array.shape[axis] in _CROPS), None)
    if crops is not None:
        note = f"the mean of {array.shape[crops]} crops was taken"
        kind = np.float16 if array.dtype == np.float16 else np.float32
        array = np.asarray(np.mean(array, axis=crops, dtype=np.float64), dtype=kind)
    if array.ndim != 2 or not array.size:
        raise FeatureError(f"expected features of shape (steps, numbers), found {array.shape}")
    with np.errstate(over="ignore"):  # what becomes infinite is told with the video
        return (array if array.dtype == np.float16 else array.astype(np.float32)), note


def first_line(error: Exception) -> str:
    """What an error says, on one line."""
    return (str(error) or type(error).__name__).splitlines()[0]
