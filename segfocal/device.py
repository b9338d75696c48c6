"""The device that a setting names: the GPU if there is one, or the CPU."""

from __future__ import annotations

import torch

from segfocal.errors import UserError


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
