"""The networks of the methods, made from plain values."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vmr.methods.catalogue import METHODS, method_named
from vmr.model.network import MomentNetwork


def network_sizes(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of some values those that the constructor of a method's network takes, with the method's name."""
    return {"method": method} | {name: values[name] for name in _arguments(method) if name in values}


def build_network(*, method: str, **sizes: Any) -> MomentNetwork[Any]:
    """The network of a method.

    Every method has the same widths by default, so that a table compares methods and not sizes.

    Args:
        method: its name.
        sizes: arguments of the constructor of its network; others are left out. Settings of the method's own section
            have their defaults where they are missing, as in checkpoints from before they were settings.

    Raises:
        ConfigError: there is no such method.
        ValueError, TypeError: sizes are impossible or missing.
    """
    entry = method_named(method)
    values = {**entry.settings().model_dump(), **sizes, **entry.arguments}
    network: MomentNetwork[Any] = _network_class(method)(
        **{name: values[name] for name in _arguments(method) if name in values}
    )
    return network


def network_with_weights(sizes: Mapping[str, Any], weights: Mapping[str, Tensor]) -> MomentNetwork[Any]:
    """The network of sizes and weights that a file names.

    Args:
        sizes: arguments of `build_network`.
        weights: its `state_dict`.

    Raises:
        ValueError, TypeError: sizes are impossible, or the weights are not those of such a network.
    """
    if sizes["method"] not in METHODS:
        raise ValueError(f"method is {sizes['method']!r}; expected one of {', '.join(METHODS)}")
    # On the meta device first, where sizes take no memory: a file may claim any.
    with torch.device("meta"), _Undrawn():
        shapes = {name: tensor.shape for name, tensor in build_network(**sizes).state_dict().items()}
    if wrong := sorted(
        name for name in {*shapes, *weights} if name not in weights or weights[name].shape != shapes.get(name)
    ):
        raise ValueError(f"its weights are not those of its sizes: {wrong[0]} and {len(wrong) - 1} more")
    network = build_network(**sizes)
    network.load_state_dict(dict(weights))
    return network


class _Undrawn(TorchFunctionMode):
    """Draws no normal weights: on the meta device they hold nothing, and would load torch's compiler, for 1.5 s."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") == "normal_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _network_class(method: str) -> type[Any]:
    module, _, name = METHODS[method].network.partition(":")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def _arguments(method: str) -> list[str]:
    """Names of the arguments of the network's constructor."""
    return list(inspect.signature(_network_class(method)).parameters)
