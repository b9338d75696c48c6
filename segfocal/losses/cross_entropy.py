"""The cross-entropy family on logits: binary (plain or α-balanced) and softmax (plain or class-weighted)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.losses.class_weights import Alpha, AlphaTerm, ClassTerm, ClassWeights
from segfocal.losses.distributed import parts
from segfocal.losses.input_checks import as_mask, check_classes, check_pair, check_reduction, computed, reduced


class CrossEntropyLoss(AlphaTerm):
    """Binary cross-entropy, −α·t·log p − (1−α)·(1−t)·log(1−p) with p = sigmoid(x), of logits `[b,k,*space]`.

    Args:
        alpha: weight of the positives in [0,1] ("balanced" cross-entropy), a list for each channel k, or
            "inverse_frequency"; None, as in plain cross-entropy, weighs both sides by one. One number may follow
            training.
        reduction: "mean" over all pixels, as torch does; "sum", or "none" for a map.
        validate: check values too; False, because it synchronises a GPU.

    The target has the logits' shape and is bool, integer (non-zero is inside) or float in [0,1].
    Source: FocalLoss with gamma=0; "balanced" as in Lin et al., ICCV 2017, eq. 3.

    Raises:
        ValueError: as FocalLoss.
    """

    def __init__(self, alpha: Alpha = None, reduction: str = "mean", validate: bool = False) -> None:
        super().__init__(alpha, validate=validate)
        check_reduction(reduction)
        self.reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map of the logits' shape with reduction "none"."""
        self.check(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            x = computed(logits)
            t = as_mask(target).to(x.dtype)
            on_positives, on_negatives = self.side_weights(x)
            # torch's own binary form takes the difference of large numbers and loses easy negatives from logit −17 on
            losses = -on_positives * t * F.logsigmoid(x) - on_negatives * (1 - t) * F.logsigmoid(-x)
            return reduced(losses, self.reduction, count=losses.numel())

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"{self.alpha_repr()}, reduction={self.reduction!r}"


class SoftmaxCrossEntropyLoss(ClassTerm):
    """torch's cross-entropy of logits `[b,c,*space]`, in float32 whatever the precision.

    Args:
        weight: a weight ≥ 0 for each class, [c]; None, as torch's, for ones; "inverse_frequency" waits for `use_rates`.
        ignore_index: class index of pixels that do not count; −100 as torch's.
        reduction: "mean" (as torch: divided by the sum of the weights of the valid pixels; 0 where that is 0, which is
            NaN in torch), "sum", or "none" for a map.
        validate: check values too; False, because it synchronises a GPU.

    The target is class indices `[b,*space]`, or probabilities of the logits' shape.
    Source: `torch.nn.functional.cross_entropy`, which does the arithmetic.

    Raises:
        ValueError: a negative weight, unknown reduction; shapes that do not fit, integer logits, no pixels, weights for
            another number of classes; with validate, indices or probabilities out of range, logits that are not finite.
    """

    weight: Tensor | None
    least_count: ClassVar[float] = torch.finfo(torch.float32).tiny  # weights may be small: only 0 is kept from dividing

    def __init__(
        self,
        weight: ClassWeights = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        validate: bool = False,
    ) -> None:
        super().__init__(weight, name="weight", validate=validate)
        check_reduction(reduction)
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map `[b,*space]` with reduction "none"."""
        if target.is_floating_point():
            check_pair(logits, target, validate=self.validate)
        else:
            check_classes(logits, target, ignore_index=self.ignore_index, validate=self.validate)
        self.check_ready(logits.shape[1])
        with torch.autocast(logits.device.type, enabled=False):
            x = computed(logits)
            weight = None if self.weight is None else self.weight.to(x.dtype)
            target = target.to(x.dtype) if target.is_floating_point() else target.long()
            if self.reduction != "mean" or target.is_floating_point():
                loss = F.cross_entropy(x, target, weight, ignore_index=self.ignore_index, reduction=self.reduction)
                return loss * parts() if self.reduction == "sum" else loss
            whole = F.cross_entropy(x, target, weight, ignore_index=self.ignore_index, reduction="sum")
            return whole / self.divisor(self._counted(target, weight, x.dtype))

    def count(self, target: Tensor, classes: int) -> Tensor | None:
        """Return the sum of the weights of the valid pixels, for a mean over class indices."""
        if self.reduction != "mean" or target.is_floating_point():
            return None
        return self._counted(target.long(), self.weight, torch.float64)

    def _counted(self, index: Tensor, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
        valid = index != self.ignore_index
        return (valid if weight is None else weight[torch.where(valid, index, 0)] * valid).sum(dtype=dtype)

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"{self.weights_repr()}, ignore_index={self.ignore_index}, reduction={self.reduction!r}"
