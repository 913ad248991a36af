"""Which devices multiply numbers of half the length natively."""

import torch


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 itself, and so faster than float32; many can only emulate it, slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Every CPU with AMX has AVX-512 BF16 too.
    return bool(torch.cpu._is_avx512_bf16_supported())
