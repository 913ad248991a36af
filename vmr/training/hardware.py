"""Precision of a run: what `auto` means on a device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from vmr.errors import ConfigError

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
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if width >= _WORTHWHILE_WIDTH and cpu_has_bfloat16() else "float32"


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX-512 BF16, which every CPU with AMX has too)."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which the network runs."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def describe(device: torch.device) -> str:
    """The device in words, for the record of a run."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
