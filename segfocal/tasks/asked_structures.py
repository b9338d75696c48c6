"""Which masks are asked for, and which of several answers counts."""

from __future__ import annotations

import torch
from torch import Tensor

from segfocal.losses.dice_iou_tversky import soft_counts


def drawn_structures(target: Tensor, many: int, uniforms: Tensor) -> Tensor:
    """Return which structures [b,many] the prompts of each image ask for, by `uniforms` [b,k].

    Those that are present in target [b,k,h,w], in random order, none again before all have come; where none is present
    any of them.
    """
    present = (target > 0).flatten(2).any(2)
    order = (uniforms + (~present).to(uniforms.dtype)).argsort(dim=1, stable=True)  # the present ones first
    count = torch.where(present.any(1), present.sum(1), target.shape[1])
    place = torch.arange(many, device=target.device) % count[:, None]
    return order.gather(1, place)


@torch.no_grad()
def best_true(logits: Tensor, target: Tensor) -> Tensor:
    """Return which mask [n,1] of logits [n,k,h,w] overlaps target [n,1,h,w] most.

    By soft IoU, which tells masks apart that are all empty, as those of an untrained model.
    """
    counts = soft_counts(logits.float(), target.expand_as(logits), "sigmoid")
    return ((counts.both + 1) / (counts.predicted + counts.target - counts.both + 1)).argmax(1, keepdim=True)
