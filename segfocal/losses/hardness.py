"""How hard each sample of a batch is, whatever loss it is trained by."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from segfocal.losses.base import Link


@torch.no_grad()
def sample_cross_entropy(logits: Tensor, target: Tensor, link: Link) -> Tensor:
    """Return the mean cross-entropy [b] of each sample, in float32.

    logits [b,k,*space] and masks of that shape under "sigmoid", logits [b,c,*space] and class indices [b,*space] under
    "softmax". Overlap losses over a batch have no value for a sample; this one every loss has.
    """
    with torch.autocast(logits.device.type, enabled=False):
        if link == "softmax":
            values = functional.cross_entropy(logits.float(), target.long(), reduction="none")
        else:
            values = functional.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    return values.flatten(1).mean(1)
