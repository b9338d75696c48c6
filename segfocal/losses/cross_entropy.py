"""The cross-entropy family on logits: binary (plain or α-balanced) and softmax (plain or class-weighted)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segfocal.losses.inputs import as_mask, check_pair, computed, reduced


class CrossEntropyLoss(nn.Module):
    """Binary cross-entropy, −α·t·log p − (1−α)·(1−t)·log(1−p) with p = sigmoid(x), of logits `[b,k,*space]`.

    Args:
        alpha: weight of the positives in [0,1] ("balanced" cross-entropy); None weighs both sides by one.
        reduction: "mean" over all pixels, "sum", or "none".

    The target has the logits' shape and is bool, integer (non-zero is inside) or float in [0,1].
    The same as FocalLoss with gamma=0.

    Raises:
        ValueError: alpha out of range, unknown reduction; shapes that differ, integer logits, no pixels.
    """

    def __init__(self, alpha: float | None = None, reduction: str = "mean") -> None:
        super().__init__()
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"expected alpha in [0,1] or None; got {alpha}")
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"expected reduction mean, sum or none; got {reduction!r}")
        self.alpha, self.reduction = alpha, reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map of the logits' shape with reduction "none"."""
        check_pair(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            x = computed(logits)
            t = as_mask(target).to(x.dtype)
            losses = F.binary_cross_entropy_with_logits(x, t, reduction="none")
            if self.alpha is not None:  # −log p and −log(1−p) weigh apart for a soft target too
                losses = -self.alpha * t * F.logsigmoid(x) - (1 - self.alpha) * (1 - t) * F.logsigmoid(-x)
            return reduced(losses, self.reduction, count=losses.numel())

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"alpha={self.alpha}, reduction={self.reduction!r}"


class SoftmaxCrossEntropyLoss(nn.Module):
    """torch's cross-entropy of logits `[b,c,*space]`, in float32 whatever the precision.

    Args:
        weight: a weight ≥ 0 for each class, [c], or None.
        ignore_index: class index of pixels that do not count.
        reduction: "mean" (as torch: divided by the sum of the weights of the valid pixels), "sum", or "none".

    The target is class indices `[b,*space]`, or probabilities of the logits' shape.

    Raises:
        ValueError: a negative weight, unknown reduction, integer logits, no pixels.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Sequence[float] | Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        weights = None if weight is None else torch.as_tensor(weight, dtype=torch.float64)
        if weights is not None and (weights.ndim != 1 or not (weights >= 0).all()):
            raise ValueError(f"expected one weight ≥ 0 for each class; got {weight}")
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"expected reduction mean, sum or none; got {reduction!r}")
        self.register_buffer("weight", weights)
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map `[b,*space]` with reduction "none"."""
        if not logits.is_floating_point() or logits.numel() == 0:
            raise ValueError(f"expected floating-point logits of some pixels; got {logits.dtype}, {list(logits.shape)}")
        with torch.autocast(logits.device.type, enabled=False):
            x = computed(logits)
            weight = None if self.weight is None else self.weight.to(x.dtype)
            target = target.to(x.dtype) if target.is_floating_point() else target.long()
            return F.cross_entropy(x, target, weight, ignore_index=self.ignore_index, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"ignore_index={self.ignore_index}, reduction={self.reduction!r}"
