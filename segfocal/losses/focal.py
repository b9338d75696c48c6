"""Pixel-wise binary focal loss on logits.

    FL(p_t) = −α_t (1 − p_t)^γ log p_t,   p = sigmoid(x),  p_t = p where t = 1 and 1 − p where t = 0

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eqs. 4 and 5.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.losses.fused import PixelSums
from segfocal.losses.inputs import as_mask, check_pair, computed, reduced

Reduction = Literal["mean", "sum", "none", "positives"]


class FocalLoss(nn.Module):
    """Binary focal loss of logits against a target of the same shape, `[b,1,h,w]` or any `[b,k,*space]`.

    Args:
        gamma: focusing exponent, ≥ 0 and not necessarily whole; 0 is (α-weighted) binary cross-entropy.
        alpha: weight of the positives in [0,1], negatives get 1 − alpha; None weighs both by one.
        reduction: "mean" divides the sum by the number of *all* pixels (SAM-Med2D's normalisation), "positives" by
            the number of positive ones, at least one (RetinaNet's), "sum" and "none" as everywhere in torch.

    The target is bool or integer (non-zero is positive), or float in [0,1]; a soft target t costs the mixture
    t·FL(t=1) + (1−t)·FL(t=0). Differs from torchvision's `sigmoid_focal_loss` on soft targets only.

    Raises:
        ValueError: gamma or alpha out of range, unknown reduction; shapes that differ, integer logits, no pixels.
    """

    def __init__(self, gamma: float = 2.0, alpha: float | None = 0.25, reduction: Reduction = "mean") -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"expected gamma ≥ 0; got {gamma}")
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"expected alpha in [0,1] or None; got {alpha}")
        if reduction not in ("mean", "sum", "none", "positives"):
            raise ValueError(f"expected reduction mean, sum, none or positives; got {reduction!r}")
        self.gamma, self.alpha, self.reduction = float(gamma), alpha, reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map of the logits' shape with reduction "none"."""
        check_pair(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            target = as_mask(target)
            losses = focal_map(computed(logits), target, gamma=self.gamma, alpha=self.alpha)
            if self.reduction == "positives":
                return losses.sum() / target.sum(dtype=losses.dtype).clamp(min=1)
            return reduced(losses, self.reduction, count=losses.numel())

    def from_sums(self, sums: PixelSums, pixels: int) -> Tensor:
        """Return the loss from the sums over maps of `pixels` pixels each; not for reduction "none"."""
        if self.reduction == "positives":
            return sums.focal.sum() / sums.target.sum().clamp(min=1)
        return reduced(sums.focal, self.reduction, count=sums.focal.numel() * pixels)

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"gamma={self.gamma}, alpha={self.alpha}, reduction={self.reduction!r}"


def focal_map(logits: Tensor, target: Tensor, *, gamma: float, alpha: float | None) -> Tensor:
    """Return the focal loss of every pixel, finite for every finite logit; the target is bool, or float in [0,1].

    Works on log-probabilities only: (1 − p_t)^γ is exp(γ·log(1 − p_t)), so no power of a rounded-to-zero base and no
    logarithm of a rounded-to-zero probability appears, in the value or in the gradient.
    """
    weight_positive, weight_negative = (1.0, 1.0) if alpha is None else (alpha, 1.0 - alpha)
    if target.is_floating_point():
        log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
        of_positive = -torch.exp(gamma * log_not_p) * log_p
        of_negative = -torch.exp(gamma * log_p) * log_not_p
        target = target.to(logits.dtype)
        return weight_positive * target * of_positive + weight_negative * (1.0 - target) * of_negative
    losses = focal_of_margin(torch.where(target, logits, -logits), gamma)
    if alpha is None:
        return losses
    return torch.where(target, weight_positive * losses, weight_negative * losses)


def focal_of_margin(margin: Tensor, gamma: float) -> Tensor:
    """Return −(1 − p_t)^γ log p_t for p_t = sigmoid(margin), finite with its gradient for every finite margin."""
    return -torch.exp(gamma * F.logsigmoid(-margin)) * F.logsigmoid(margin)
