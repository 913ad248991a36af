"""Loading weights of networks: safetensors or torch checkpoints, never code; names mapped and checked."""

import logging
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vmr.assets.torch_weights import load_torch_checkpoint
from vmr.errors import FeatureError

log = logging.getLogger(__name__)


def read_weights(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by key of a file of weights, and the metadata of a safetensors file.

    Args:
        path: ``.safetensors``, or a checkpoint of torch, see `vmr.assets.torch_weights.load_torch_checkpoint`.

    Raises:
        FeatureError: the file is missing or damaged.
        AssetError: a checkpoint of torch is damaged, or holds anything but tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FeatureError(
            f"{path}: the weights are not there. Put the file there, name another one as `weights` of the extractor "
            "in config.yaml, or let `vmr assets prepare` make it."
        )
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise FeatureError(f"{path}: damaged safetensors file ({error}); prepare or download it again.") from error
    return load_torch_checkpoint(path), {}


def load_into(
    module: nn.Module,
    path: Path | str,
    *,
    rename: Callable[[str], str] = str,
    unused: tuple[str, ...] = (),
) -> dict[str, str]:
    """Load a file of weights into a network and give its metadata; every parameter that is used must have its shape.

    Args:
        rename: from the keys of the file to those of the network.
        unused: prefixes of (renamed) keys that no feature comes from, such as the classifier's. The file may have them
            in any shape, or not at all; the network keeps its own.

    Raises:
        FeatureError: the file cannot be read, or its keys or shapes are not those of the network.
    """
    tensors, metadata = read_weights(path)
    state = {rename(key): tensor for key, tensor in tensors.items()}
    expected = module.state_dict()
    # Counters of batches seen in training do not enter the function.
    needed = {key for key in expected if not key.endswith("num_batches_tracked") and not key.startswith(unused)}
    missing = sorted(needed - set(state))
    wrong = sorted(key for key in needed & set(state) if state[key].shape != expected[key].shape)
    foreign = sorted(key for key in set(state) - set(expected) if not key.startswith(unused))
    if missing or wrong or foreign:
        found = [
            f"{len(keys)} {what} (first: {keys[0]})"
            for what, keys in (("missing", missing), ("of another shape", wrong), ("unknown", foreign))
            if keys
        ]
        raise FeatureError(
            f"{path}: these are not weights of {type(module).__name__}: {', '.join(found)} of {len(needed)} keys. "
            "Name the file that belongs to this extractor."
        )
    module.load_state_dict({key: state[key].float() for key in needed}, strict=False)
    log.info("loaded %d tensors into %s from %s", len(needed), type(module).__name__, path)
    return metadata
