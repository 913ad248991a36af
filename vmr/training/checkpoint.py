"""Checkpoints: safetensors with all that is needed to use them again, and the state of an unfinished run."""

import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from vmr.errors import CheckpointError
from vmr.methods.build import network_with_weights
from vmr.model.network import MomentNetwork
from vmr.names import frame_choice_of
from vmr.storage.files import atomic_path, writing

log = logging.getLogger(__name__)

_FORMAT = "vmr-checkpoint-1"
# What makes features another kind. Versions, devices and decoders may differ: they change digits, not meanings.
_FEATURE_KIND = (
    "extractor", "weights", "window", "stride", "mode", "padding", "fps", "pca", "layout", "resize", "crop", "input",
    "mean", "feature", "frames", "source_provenance",
)  # fmt: skip
# Of a nested entry, the digests and sizes count, not where a file came from; of features that were imported, what
# their file says of its making.
_NESTED_KIND = (
    "sha256", "components", "input_dim", "samples", "explained_share", "short_side", "recipe", "extractor", "mode",
)  # fmt: skip
_QUERY_KIND = ("max_words", "tokenizer")


def save_checkpoint(
    path: Path, model: MomentNetwork[Any], *, sizes: Mapping[str, Any], info: Mapping[str, Any]
) -> None:
    """Write weights and description atomically.

    Args:
        sizes: the arguments of `build_network` that it was made with, the method among them.
        info: settings, `feature_kind`, query provenance and whatever else describes the run; as JSON.

    Raises:
        ShardError: the disk is full or the folder cannot be written.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    description = json.dumps({"format": _FORMAT, "sizes": dict(sizes), **info}, sort_keys=True, ensure_ascii=False)
    # By way of memory: the library's own writing tells of a full disk in an error of its own kind.
    content = safetensors.torch.save(weights, metadata={"vmr": description})
    with writing(path), atomic_path(path) as temporary:
        temporary.write_bytes(content)


def load_checkpoint(path: Path, *, device: torch.device | str = "cpu") -> tuple[MomentNetwork[Any], dict[str, Any]]:
    """Read a checkpoint: the network, ready to predict, and its description.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of ours.
    """
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            info: dict[str, Any] = json.loads((file.metadata() or {})["vmr"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        if info["format"] != _FORMAT:
            raise CheckpointError(f"{path}: format {info['format']!r}, expected {_FORMAT!r}. Train again.")
        model = network_with_weights(info["sizes"], weights)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such checkpoint. Train first.") from error
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of this program ({error}). Train again.") from error
    return model.to(device).eval(), info


def feature_kind(provenance: Mapping[str, Any], *, dim: int) -> dict[str, Any]:
    """The part of features' provenance that must be the same for a checkpoint to make sense of them."""
    kind: dict[str, Any] = {"dim": dim}
    for name in _FEATURE_KIND:
        value = provenance.get(name)
        if isinstance(value, Mapping):
            value = {key: value[key] for key in _NESTED_KIND if key in value}
        kind[name] = value
    return _with_choice(kind, provenance)


def _with_choice(kind: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """The kind with the choice of frames, where we decoded them; of imported features nobody told us."""
    return {**kind, "frame_choice": frame_choice_of(told)} if kind.get("frames") else dict(kind)


def check_features(path: Path, info: Mapping[str, Any], provenance: Mapping[str, Any], *, dim: int) -> None:
    """Refuse features of another kind than those that a checkpoint was trained on.

    Raises:
        CheckpointError: names what differs.
    """
    trained = _with_choice(info["feature_kind"], info["feature_kind"])
    found = feature_kind(provenance, dim=dim)
    # What an older checkpoint does not record cannot be compared.
    different = [name for name in found if name in trained and found[name] != trained[name]]
    if different:
        details = "; ".join(f"{name}: {trained[name]} there, {found[name]} here" for name in different)
        raise CheckpointError(
            f"{path}: trained on features of another kind ({details}). Use the features it was trained on, "
            "or train again."
        )


def check_queries(path: Path, info: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Refuse word vectors from another file, or sentences cut or divided otherwise, than a checkpoint was trained on.

    Raises:
        CheckpointError: names what differs.
    """
    trained = info["queries"]
    if trained["vectors_sha256"] != provenance["vectors_sha256"]:
        raise CheckpointError(
            f"{path}: trained with the word vectors {trained['vectors']} (sha256 {trained['vectors_sha256'][:12]}), "
            f"the queries have {provenance['vectors']} (sha256 {provenance['vectors_sha256'][:12]}). "
            "Embed the queries with the same file, or train again."
        )
    for name in _QUERY_KIND:
        if name in trained and trained[name] != provenance.get(name):
            raise CheckpointError(
                f"{path}: trained on queries with {name} {trained[name]!r}, these have {provenance.get(name)!r}. "
                "Embed the queries as they were for training, or train again."
            )


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of an unfinished run atomically: tensors and plain values only.

    Raises:
        ShardError: the disk is full or the folder cannot be written.
    """
    content = io.BytesIO()
    torch.save(dict(state), content)
    with writing(path), atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def load_state(path: Path, *, fingerprint: str) -> dict[str, Any] | None:
    """The state of an unfinished run with the same settings, inputs and code; None where there is none."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # torch has an error of another kind for every way to damage a file
        log.warning("%s: cannot be read (%s: %s); training begins anew", path, type(error).__name__, error)
        return None
    return state if isinstance(state, dict) and state.get("fingerprint") == fingerprint else None
