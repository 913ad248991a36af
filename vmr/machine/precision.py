"""Precision of matrix products: what a device supports natively, and what `auto` means."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from vmr import names

Precision = Literal["float32", "bfloat16"]


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 natively, and so faster than float32; many emulate it slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Every CPU with AMX has AVX-512 BF16 too.
    return bool(torch.cpu._is_avx512_bf16_supported())


def choose_dtype(dtype: names.Precision, device: torch.device) -> torch.dtype:
    """The precision that a name means: ``"auto"`` is bfloat16 where the hardware multiplies it natively."""
    return torch.float32 if resolve_precision(dtype, device, width=names.WIDE) == "float32" else torch.bfloat16


def resolve_precision(precision: names.Precision, device: torch.device, *, width: int) -> Precision:
    """The precision of matrix products: ``auto`` is bfloat16 where it is native and faster.

    Args:
        width: of the network: of all its layers but the first, which reads the features.
    """
    if precision != "auto":
        return precision
    wide = device.type == "cuda" or width >= names.WIDE
    return "bfloat16" if wide and has_native_bfloat16(device) else "float32"


def lstm_precision(x: torch.Tensor) -> tuple[torch.Tensor, AbstractContextManager[object]]:
    """The input of an LSTM, and the context in which it runs: in single precision where none runs in bfloat16.

    oneDNN has no LSTM in bfloat16 for processors without AVX-512. For inputs in single precision torch asks for it and
    ends with an error; for others it has its own, which took 9 to 20 times as long as single precision (by hand).
    """
    cpu = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if not cpu or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return x, nullcontext()
    return x.float(), torch.autocast("cpu", enabled=False)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which the network runs."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
