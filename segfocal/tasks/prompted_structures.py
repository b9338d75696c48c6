"""Which structures of an image get a prompt in a training step."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_structures(target: Tensor, count: int, uniforms: Tensor) -> Tensor:
    """Return the indices [b,count] of the structures that get a prompt, drawn by `uniforms` [b,k].

    They are drawn from the structures present in target [b,k,*space], in random order. None is drawn again before all
    present ones have been. Where none is present, they are drawn from all k.
    """
    present = (target > 0).flatten(2).any(2)
    order = (uniforms + (~present).to(uniforms.dtype)).argsort(dim=1, stable=True)  # the present ones first
    available = torch.where(present.any(1), present.sum(1), target.shape[1])
    place = torch.arange(count, device=target.device) % available[:, None]
    return order.gather(1, place)
