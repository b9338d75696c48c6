"""Plain binary cross-entropy on logits, the yardstick every other loss is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.losses.inputs import as_mask, check_pair, computed


class CrossEntropyLoss(nn.Module):
    """Mean over all pixels of −t·log p − (1−t)·log(1−p), p = sigmoid(x); the same as FocalLoss(gamma=0, alpha=None).

    Logits `[b,k,*space]`; the target has their shape and is bool, integer, or float in [0,1].

    Raises:
        ValueError: shapes that differ, integer logits, no pixels.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss."""
        check_pair(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            x = computed(logits)
            return F.binary_cross_entropy_with_logits(x, as_mask(target).to(x.dtype))
