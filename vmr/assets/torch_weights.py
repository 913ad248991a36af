"""Weights from checkpoints of PyTorch: read without running code, keys made uniform."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vmr.errors import AssetError

_PREFIXES = ("module.", "backbone.")
_WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model")

# Plain PyTorch C3D, as its widely used ports name and shape it: channels that a convolution takes and gives, numbers of
# a fully connected layer; fc8, the classes, may be absent.
C3D_CHANNELS = {
    "conv1": (3, 64),
    "conv2": (64, 128),
    "conv3a": (128, 256),
    "conv3b": (256, 256),
    "conv4a": (256, 512),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
}
_C3D_FEATURES = {"fc6": (8192, 4096), "fc7": (4096, 4096)}
_C3D_RENAMED = {"conv1a": "conv1", "conv2a": "conv2", "cls_head.fc_cls": "fc8"}

_I3D_SHAPES = {
    "Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7),
    "Mixed_3b.b1a.conv3d.weight": (96, 192, 1, 1, 1),
    "Mixed_5c.b3b.conv3d.weight": (128, 832, 1, 1, 1),
}


def load_torch_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by key, on the CPU, without the prefixes ``module.`` and ``backbone.``.

    Args:
        path: a state dictionary written by `torch.save`, or a dictionary with one under ``state_dict``,
            ``model_state``, ``model_state_dict`` or ``model``.

    Raises:
        AssetError: the file is missing, damaged, refers to code, or has no state dictionary.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise AssetError(f"{path}: no such checkpoint.") from error
    except (
        *(RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError, AssertionError),
        *(MemoryError, OverflowError, pickle.UnpicklingError, zipfile.BadZipFile),
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise AssetError(
            f"{path}: refused as weights: expected a PyTorch checkpoint of tensors alone, found something that is "
            f"damaged or would run code when read ({reason[:200]}). Download it again from its publisher."
        ) from error
    state = content
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state:
        raise AssetError(f"{path}: expected a state dictionary, found {type(state).__name__}.")
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise AssetError(f"{path}: expected tensors by name, found {type(value).__name__} under {key!r}.")
        tensors[plain_key(key)] = value
    return tensors


def plain_key(key: str) -> str:
    """Key of a weight without the prefixes of wrappers.

    >>> plain_key("module.backbone.conv1a.conv.weight")
    'conv1a.conv.weight'
    """
    while prefix := next((prefix for prefix in _PREFIXES if key.startswith(prefix)), None):
        key = key.removeprefix(prefix)
    return key


def i3d_weights(tensors: Mapping[str, Tensor], *, path: Path) -> dict[str, Tensor]:
    """Weights of I3D under the keys of the widely used PyTorch port, as float32, without the batch counters.

    Raises:
        AssetError: these are not weights of I3D for RGB.
    """
    weights = {key: _float32(value) for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    _require_shapes(weights, _I3D_SHAPES, path=path, what="I3D for RGB with the keys of the PyTorch port")
    logits = weights.get("logits.conv3d.weight")
    if logits is None or logits.shape[1:] != (1024, 1, 1, 1):
        raise AssetError(f"{path}: expected logits.conv3d.weight of shape (classes, 1024, 1, 1, 1) among the weights.")
    return weights


def c3d_weights(tensors: Mapping[str, Tensor], *, path: Path) -> dict[str, Tensor]:
    """Weights of C3D as float32, under plain names (``conv1.weight`` to ``fc7.bias``, ``fc8`` if it is there).

    Args:
        tensors: a checkpoint with plain names or those of mmaction2 (``conv1a.conv.weight``, ``conv3a.conv.weight``).

    Raises:
        AssetError: a layer is missing, unknown, or of another shape than in C3D.
    """
    weights = {c3d_key(key): _float32(value) for key, value in tensors.items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (inputs, outputs) in C3D_CHANNELS.items():
        shapes |= {f"{name}.weight": (outputs, inputs, 3, 3, 3), f"{name}.bias": (outputs,)}
    for name, (inputs, outputs) in _C3D_FEATURES.items():
        shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    _require_shapes(weights, shapes, path=path, what="C3D")
    if unknown := sorted(set(weights) - set(shapes) - {"fc8.weight", "fc8.bias"}):
        raise AssetError(f"{path}: {len(unknown)} weights are not part of C3D, the first {unknown[0]}.")
    return weights


def c3d_key(key: str) -> str:
    """Plain PyTorch key of a C3D weight from mmaction2's or the plain one.

    >>> c3d_key("backbone.conv1a.conv.weight"), c3d_key("conv3b.bias"), c3d_key("cls_head.fc_cls.weight")
    ('conv1.weight', 'conv3b.bias', 'fc8.weight')
    """
    layer, _, parameter = plain_key(key).rpartition(".")
    layer = re.sub(r"\.conv$", "", layer)
    return f"{_C3D_RENAMED.get(layer, layer)}.{parameter}"


def _require_shapes(
    weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], *, path: Path, what: str
) -> None:
    for key, shape in shapes.items():
        found: Any = tuple(weights[key].shape) if key in weights else "nothing"
        if found != shape:
            raise AssetError(
                f"{path}: not the weights of {what}: expected {key} of shape {shape}, found {found}; the file's first "
                f"keys are {', '.join(sorted(weights)[:3])}."
            )


def _float32(value: Tensor) -> Tensor:
    # A copy, since tensors that share memory cannot be written to safetensors.
    return value.to(torch.float32, copy=True).contiguous()
