"""Precision of a run: what `auto` means on a device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch

from vmr.errors import ConfigError
from vmr.precision import has_native_bfloat16

Precision = Literal["float32", "bfloat16"]

# Below this width single precision is as fast on a CPU: a step is then spent on many small operations.
_WORTHWHILE_WIDTH = 256


def resolve_precision(precision: str, device: torch.device, *, width: int) -> Precision:
    """The precision of matrix products: ``auto`` is bfloat16 where it is native and faster.

    Args:
        precision: auto, float32 or bfloat16.
        device: of the run.
        width: of the network: of all its layers but the first, which reads the features.

    Raises:
        ConfigError: the name is unknown.
    """
    if precision == "float32":
        return "float32"
    if precision == "bfloat16":
        return "bfloat16"
    if precision != "auto":
        raise ConfigError(f"precision is {precision!r}; expected auto, float32 or bfloat16")
    wide = device.type == "cuda" or width >= _WORTHWHILE_WIDTH
    return "bfloat16" if wide and has_native_bfloat16(device) else "float32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which the network runs."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a card, ways of computing that give the same each time, where torch has them; CPUs are so by themselves."""
    if device.type != "cuda":
        yield
        return
    # Read when cuBLAS is first used; without it products of the same matrices may differ in their last bits.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    how: Any = torch.utils.deterministic
    before, filling = torch.are_deterministic_algorithms_enabled(), how.fill_uninitialized_memory
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    how.fill_uninitialized_memory = False  # nothing of ours is read before it is written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warned)
        how.fill_uninitialized_memory = filling


def describe(device: torch.device) -> str:
    """The device in words, for the record of a run."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
