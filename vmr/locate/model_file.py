"""The exported model: one safetensors file with the network, the word vectors and the extractor."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from vmr.errors import CheckpointError
from vmr.locate.word_table import Words, as_bytes, words_of
from vmr.methods.build import network_with_weights
from vmr.model.network import MomentNetwork
from vmr.storage.files import atomic_path, writing

FORMAT = "vmr-model-1"
_NETWORK = "network/"
_WORDS = "words/"
_EXTRACTOR = "extractor/"
_PCA = "pca/"


@dataclass(frozen=True)
class ModelFile:
    """The content of an exported model."""

    path: Path
    network: MomentNetwork[Any]  # in evaluation mode, on the CPU
    words: Words
    # the description: method, sizes, `feature_kind`, `features` (the provenance of the features that it was trained
    # on), `queries`, versions
    info: dict[str, Any]
    # bytes of the extractor's files by role (``weights``, ``mean``); empty where features were imported
    files: dict[str, bytes]
    pca: dict[str, Tensor]  # ``mean`` and ``components`` of the projection of features; empty without one

    @property
    def max_steps(self) -> int:
        """Largest number of steps that the network reads at once."""
        return int(self.info["sizes"]["max_steps"])


def write_model(
    path: Path,
    network: MomentNetwork[Any],
    words: Words,
    *,
    info: Mapping[str, Any],
    files: Mapping[str, bytes],
    pca: Mapping[str, Tensor],
) -> None:
    """Write an exported model atomically; the arguments are those of `ModelFile`.

    Raises:
        ShardError: the disk is full, or the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {f"{_NETWORK}{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"{_WORDS}{name}": value for name, value in words.tensors().items()}
    tensors |= {f"{_EXTRACTOR}{role}": as_bytes(content) for role, content in files.items()}
    tensors |= {f"{_PCA}{name}": value for name, value in pca.items()}
    description = json.dumps({"format": FORMAT, **info}, sort_keys=True, ensure_ascii=False)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = safetensors.torch.save(contiguous, metadata={"vmr": description})
    with writing(path), atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_model(path: Path) -> ModelFile:
    """Read an exported model.

    Raises:
        CheckpointError: the file is missing, damaged, or of another format, such as the checkpoint of a run.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder. Make a model of a trained run with `vmr export`, and name it.")
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            info: dict[str, Any] = json.loads((file.metadata() or {})["vmr"])
            if info["format"] != FORMAT:
                hint = " Make one of it with `vmr export`." if "checkpoint" in str(info["format"]) else ""
                raise CheckpointError(f"{path}: format {info['format']!r}, expected {FORMAT!r}.{hint}")
            names = list(file.keys())
            small = {name: file.get_tensor(name) for name in names if not name.startswith(_EXTRACTOR)}
            files = {
                name.removeprefix(_EXTRACTOR): bytes(file.get_tensor(name).numpy())
                for name in names
                if name.startswith(_EXTRACTOR)
            }
        network = network_with_weights(info["sizes"], _part(small, _NETWORK))
        words = words_of(_part(small, _WORDS), max_words=int(info["queries"]["max_words"]))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file. Make a model of a trained run with `vmr export`.") from error
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a model of `vmr export` ({error}). Export it again.") from error
    return ModelFile(path, network.eval(), words, info, files, _part(small, _PCA))


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
