"""How extraction runs on a device: precision, and how much fits into its memory."""

import contextlib
import ctypes

import torch

from vmr.errors import FeatureError
from vmr.precision import has_native_bfloat16

_CPU_BATCH = 4
# Device memory for a window of 64 x 224 x 224 in flight in float32: an estimate from I3D's first layers (outputs of
# 103, 26 and 77 MB, with their inputs, padded copies and the convolution's workspace). Too small a guess is mended by
# halving the batch. C3D and the backbones take less.
_BYTES_PER_WINDOW = 600 * 2**20


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The precision that a name means: ``"auto"`` is bfloat16 where the hardware multiplies it natively.

    Raises:
        FeatureError: the name is none of ours.
    """
    if dtype == "auto":
        return torch.bfloat16 if has_native_bfloat16(device) else torch.float32
    if dtype not in ("float32", "bfloat16"):
        raise FeatureError(f"dtype is auto, float32 or bfloat16, found {dtype!r}")
    return torch.float32 if dtype == "float32" else torch.bfloat16


def batch_that_fits(device: torch.device, dtype: torch.dtype) -> int:
    """Windows at once: a number of ours on the CPU, by free memory on a card."""
    if device.type == "cpu":
        return _CPU_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    each = _BYTES_PER_WINDOW // (2 if dtype == torch.bfloat16 else 1)
    return int(min(max(0.6 * free // each, 1), 64))


def keep_freed_memory() -> None:
    """Let this process keep what it frees, so that arrays of a hundred megabytes do not come as new pages each time.

    Each piece of a video fills several of them, and new pages took a tenth of the processor time (docs/decisions.md).
    Only glibc offers it; elsewhere nothing changes. Pieces of free memory between others in use then add up over many
    videos: see `give_back_freed_memory`.
    """
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)


def give_back_freed_memory() -> None:
    """Return to the system what this process has freed and kept; only glibc offers it.

    To be called once in a while by whoever called `keep_freed_memory`: the next arrays come as new pages.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
