"""How hard each sample of a batch is: its mean cross-entropy, whatever loss it is trained by."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from segfocal.losses.base import Link


@torch.no_grad()
def sample_cross_entropy(logits: Tensor, target: Tensor, link: Link) -> Tensor:
    """Return the mean cross-entropy [b] of each sample, in float32.

    A Dice loss over a batch has no value for one sample; cross-entropy has, so hard examples are chosen by it.

    Args:
        logits: `[b,k,*space]` under "sigmoid", `[b,c,*space]` with the background under "softmax".
        target: masks of that shape under "sigmoid", class indices `[b,*space]` under "softmax".
        link: what makes probabilities of the logits.
    """
    with torch.autocast(logits.device.type, enabled=False):
        if link == "softmax":
            values = functional.cross_entropy(logits.float(), target.long(), reduction="none")
        else:
            values = functional.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    return values.flatten(1).mean(1)
