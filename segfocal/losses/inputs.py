"""What every loss asks of its logits and target, checked once, and the dtype its arithmetic runs in."""

from __future__ import annotations

import torch
from torch import Tensor


def check_pair(logits: Tensor, target: Tensor) -> None:
    """Raise ValueError unless both tensors have one shape with voxels in it, and logits are floating point."""
    if logits.shape != target.shape:
        raise ValueError(
            f"expected logits and target of one shape [b,k,*space]; got {list(logits.shape)} and "
            f"{list(target.shape)}: reshape the target, for one class to [b,1,h,w]"
        )
    if not logits.is_floating_point():
        raise ValueError(f"expected floating-point logits; got {logits.dtype}: pass the network's raw output")
    if logits.numel() == 0:
        raise ValueError(f"expected at least one pixel; got logits of shape {list(logits.shape)}: skip empty batches")


def as_mask(target: Tensor) -> Tensor:
    """Return an integer target as bool, non-zero inside (so 0/255 masks mean what they show); others as they are."""
    return target if target.is_floating_point() or target.dtype == torch.bool else target != 0


def computed(logits: Tensor) -> Tensor:
    """Return logits in the dtype of the arithmetic: float64 stays, every other dtype becomes float32."""
    return logits if logits.dtype == torch.float64 else logits.float()


def reduced(losses: Tensor, reduction: str, *, count: Tensor | int) -> Tensor:
    """Return a loss map as it is ("none"), summed ("sum"), or summed and divided by `count` ("mean")."""
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / count
