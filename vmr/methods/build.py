"""The methods by their names, and the one function that makes their networks."""

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor

from vmr.methods.ci_mha import METHODS as CI_MHA_METHODS
from vmr.methods.ci_mha import CiMha
from vmr.methods.excl import Excl
from vmr.methods.lgi import Lgi
from vmr.methods.vslnet import VslNet
from vmr.model.network import MomentNetwork
from vmr.names import Alignment, Exchanged, MethodName

METHODS: tuple[MethodName, ...] = get_args(MethodName)
# CI-MHA with an input that tells nothing: the same network, trained and tested on exchanged inputs.
_BLIND: dict[MethodName, Exchanged] = {"ci_mha_query_blind": "query", "ci_mha_video_blind": "video"}


def exchanged_input(method: MethodName) -> Exchanged | None:
    """The input that a blind method gets from another sample; None for methods that see all.

    >>> exchanged_input("ci_mha_query_blind"), exchanged_input("ci_mha")
    ('query', None)
    """
    return _BLIND.get(method)


def uses_alignment(method: MethodName) -> bool:
    """Whether the reading of Eqs. 7 to 9 makes a difference to the method."""
    return method in CI_MHA_METHODS or method in _BLIND


def build_network(
    *,
    method: MethodName,
    video_dim: int,
    word_dim: int,
    max_steps: int = 128,
    hidden: int = 512,
    query_hidden: int = 256,
    heads: int = 8,
    dropout: float = 0.2,
    lstm_dropout: float = 0.5,
    alignment: Alignment = "attention",
    segmentation_weight: float = 1.0,
) -> MomentNetwork[Any]:
    """The network of a method; every method has the same widths, so that a table compares methods and not sizes.

    Args:
        method: its name.
        video_dim: length of the features of a step.
        word_dim: length of the word vectors.
        max_steps: most steps of a video.
        hidden: width of the network; even.
        query_hidden: length of the states of each direction of the query's LSTM (not `vslnet`, which has none).
        heads: heads of every attention.
        dropout: dropout probability, where the method's class says.
        lstm_dropout: after LSTMs (not `vslnet`).
        alignment: reading of Eqs. 7 to 9, for CI-MHA.
        segmentation_weight: weight of the segmentation task, for CI-MHA; the neighbours have their papers' weights.

    Raises:
        ValueError: an unknown method or alignment, or sizes that cannot be.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    sizes: dict[str, Any] = {"video_dim": video_dim, "word_dim": word_dim, "hidden": hidden, "dropout": dropout}
    recurrent: dict[str, Any] = {"query_hidden": query_hidden, "lstm_dropout": lstm_dropout}
    if method == "excl":
        return Excl(**sizes, **recurrent)
    if method == "vslnet":
        return VslNet(**sizes, heads=heads)
    if method == "lgi":
        return Lgi(**sizes, **recurrent, max_steps=max_steps, heads=heads)
    return CiMha(
        **sizes,
        **recurrent,
        method="ci_mha" if method in _BLIND else method,
        max_steps=max_steps,
        heads=heads,
        alignment=alignment,
        segmentation_weight=segmentation_weight,
    )


def network_with_weights(sizes: Mapping[str, Any], weights: Mapping[str, Tensor]) -> MomentNetwork[Any]:
    """The network of sizes and weights that a file names.

    Args:
        sizes: arguments of `build_network`.
        weights: its `state_dict`.

    Raises:
        ValueError, TypeError: the sizes cannot be, or the weights are not those of such a network.
    """
    # On the meta device first, where sizes take no memory: a file may claim any.
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in build_network(**sizes).state_dict().items()}
    if wrong := sorted(
        name for name in {*shapes, *weights} if name not in weights or weights[name].shape != shapes.get(name)
    ):
        raise ValueError(f"its weights are not those of its sizes: {wrong[0]} and {len(wrong) - 1} more")
    network = build_network(**sizes)
    network.load_state_dict(dict(weights))
    return network
