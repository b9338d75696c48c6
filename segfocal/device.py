"""The device that a setting names, the GPU if there is one, or the CPU; and the precision it computes fastest in."""

from __future__ import annotations

import torch

from segfocal.errors import UserError

_BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16")  # of Intel, of Intel and AMD, of ARM


def choose_device(name: str) -> torch.device:
    """Return the device of a setting; "auto" is a CUDA GPU if there is one. UserError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(expected="device auto, cpu or cuda", found=name, do="set device=auto") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(expected="a CUDA GPU for device=cuda", found="none that torch sees", do="set device=auto")
    return device


def quick_precision(device: torch.device) -> str:
    """Return "bf16" where the device multiplies bfloat16 in hardware, "fp32" elsewhere."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # which older torch does not know
    return "bf16" if any(has.get(name) for name in _BF16_INSTRUCTIONS) else "fp32"
