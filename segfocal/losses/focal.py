"""Pixel-wise binary focal loss on logits.

    FL(p_t) = −α_t (1 − p_t)^γ log p_t,   p = sigmoid(x),  p_t = p where t = 1 and 1 − p where t = 0

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eqs. 4 and 5.

Which code trains, inside a `WeightedSum`:

- a hard target, as the data gives it, and terms that share sums: the arithmetic is `fused.pixel_sums`, one pass over
  the pixels each way, through torch.compile on a GPU (`loss.compile`) or as it stands; then `FocalLoss.from_sums` here,
  and `anatomy_from_sums`, where the loss comes from;
- a soft target, or a term beside it without sums or with another γ: `FocalLoss.forward` here, that is `focal_map`.

Both have the same value and gradient (tests/losses/test_fused.py). Both work on the margin s, the logit with the sign
of its target: s = x where t = 1 and −x where t = 0. Then p_t = sigmoid(s), and 1 − p_t = sigmoid(−s) is never a
difference of rounded numbers.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.losses.base import PixelSums
from segfocal.losses.class_weights import Alpha, AlphaTerm
from segfocal.losses.input_checks import as_mask, check_gamma, check_reduction, computed, reduced
from segfocal.losses.loss_schedules import NumberOrSchedule

Reduction = Literal["mean", "sum", "none", "positives"]

ANATOMY_NAMES = ("modulating", "hard_share", "positive_share")  # of `focal_anatomy`


class FocalLoss(AlphaTerm):
    """Binary focal loss of logits against a target of the same shape, `[b,1,h,w]` or any `[b,k,*space]`.

    Args:
        gamma: focusing exponent, ≥ 0 and not necessarily whole; 2, the paper's best; 0 is (α-weighted) binary
            cross-entropy. May follow training (`segfocal.losses.loss_schedules`).
        alpha: weight of the positives in [0,1], negatives get 1 − alpha; 0.25, the paper's best with γ = 2. A list has
            one for each channel k; None weighs both by one; "inverse_frequency" waits for `use_rates`. One number may
            follow training.
        reduction: "mean" divides the sum by the number of *all* pixels, SAM-Med2D's normalisation; "positives" by the
            number of positive ones, at least one, RetinaNet's; "sum" and "none" as everywhere in torch.
        validate: check values too; False, because it synchronises a GPU.

    The target is bool or integer (non-zero is positive), or float in [0,1]; a soft target t costs the mixture
    t·FL(t=1) + (1−t)·FL(t=0). Differs from torchvision's `sigmoid_focal_loss` on soft targets only.

    Raises:
        ValueError: gamma or alpha out of range, unknown reduction; shapes that differ, integer logits, no pixels, an
            alpha for another number of channels; with validate, soft targets outside [0,1], logits that are not finite.
    """

    anatomy_names = ANATOMY_NAMES

    def __init__(
        self, gamma: NumberOrSchedule = 2.0, alpha: Alpha = 0.25, reduction: Reduction = "mean", validate: bool = False
    ) -> None:
        super().__init__(alpha, validate=validate)
        check_reduction(reduction, ("mean", "sum", "none", "positives"))
        self.gamma, self.reduction = self.follow("gamma", gamma, check_gamma), reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map of the logits' shape with reduction "none"."""
        self.check(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            target, x = as_mask(target), computed(logits)
            losses = focal_map(x, target, gamma=self.gamma, side_weights=self.side_weights(x))
            if self.reduction == "positives":
                return losses.sum() / self.divisor(target.sum(dtype=losses.dtype))
            return reduced(losses, self.reduction, count=losses.numel())

    def count(self, target: Tensor, classes: int) -> Tensor | None:
        """Return the number of positives, for reduction "positives"."""
        return as_mask(target).sum(dtype=torch.float64) if self.reduction == "positives" else None

    @property
    def takes_sums(self) -> bool:
        """Whether `from_sums` serves: not where a subclass has a `forward` of its own."""
        return type(self).forward is FocalLoss.forward

    @property
    def gamma_of_sums(self) -> float:
        """The focusing exponent: focal sums are those of one γ."""
        return self.gamma

    def from_sums(self, sums: PixelSums, pixels: int) -> Tensor:
        """Return the loss from the sums over maps of `pixels` pixels each; not for reduction "none"."""
        positive, negative = self.side_weights(sums.positive)
        losses = positive * sums.positive + negative * sums.negative
        if self.reduction == "positives":
            return losses.sum() / self.divisor(sums.target.sum())
        return reduced(losses, self.reduction, count=losses.numel() * pixels)

    @torch.no_grad()
    def anatomy(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return where the loss comes from.

        "modulating" is the mean of (1 − p_t)^γ; "hard_share" the share of the loss from pixels with p_t < .5;
        "positive_share" that from positives. A soft target counts as positive from 0.5 on. Without any loss the shares
        are 0.
        """
        with torch.autocast(logits.device.type, enabled=False):
            positive = target >= 0.5 if target.is_floating_point() else as_mask(target)
            x = computed(logits)
            margin = torch.where(positive, x, -x)
            on_positives, on_negatives = self.side_weights(x)
            weight = torch.where(positive, on_positives, on_negatives)
            return focal_anatomy(margin, self.gamma, weight=weight, positive=positive)

    @torch.no_grad()
    def anatomy_from_sums(self, sums: PixelSums, pixels: int) -> dict[str, Tensor]:
        """Return what `anatomy` does, from the sums over maps of `pixels` pixels each."""
        assert sums.modulating is not None
        assert sums.hard_positive is not None
        assert sums.hard_negative is not None
        positive, negative = self.side_weights(sums.positive)
        on_positives = (positive * sums.positive).sum()
        whole = on_positives + (negative * sums.negative).sum()
        whole = whole.clamp(min=torch.finfo(whole.dtype).tiny)
        return {
            "modulating": sums.modulating.mean() / pixels,
            "hard_share": (positive * sums.hard_positive + negative * sums.hard_negative).sum() / whole,
            "positive_share": on_positives / whole,
        }

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"gamma={self.gamma}, {self.alpha_repr()}, reduction={self.reduction!r}"


def focal_map(
    logits: Tensor, target: Tensor, *, gamma: float, side_weights: tuple[Tensor | float, Tensor | float] = (1.0, 1.0)
) -> Tensor:
    """Return the focal loss of every pixel, finite for every finite logit.

    Works on log-probabilities only: (1 − p_t)^γ is exp(γ·log(1 − p_t)), so no power of a rounded-to-zero base and no
    logarithm of a rounded-to-zero probability appears, in the value or in the gradient.

    Args:
        logits: of any shape; float32 or float64.
        target: bool, or float in [0,1], of that shape.
        gamma: focusing exponent, ≥ 0.
        side_weights: of positives and of negatives, numbers or tensors that broadcast to the logits; (1, 1) is no α.
    """
    on_positives, on_negatives = side_weights
    if target.is_floating_point():
        log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
        of_positive = -torch.exp(gamma * log_not_p) * log_p
        of_negative = -torch.exp(gamma * log_p) * log_not_p
        target = target.to(logits.dtype)
        return on_positives * target * of_positive + on_negatives * (1.0 - target) * of_negative
    losses = focal_of_margin(torch.where(target, logits, -logits), gamma)
    return torch.where(target, on_positives * losses, on_negatives * losses)


def focal_of_margin(margin: Tensor, gamma: float) -> Tensor:
    """Return −(1 − p_t)^γ log p_t for p_t = sigmoid(margin), finite with its gradient for every finite margin."""
    return -torch.exp(gamma * F.logsigmoid(-margin)) * F.logsigmoid(margin)


def focal_anatomy(
    margin: Tensor, gamma: float, *, weight: Tensor | float, positive: Tensor, valid: Tensor | None = None
) -> dict[str, Tensor]:
    """Return the values of `ANATOMY_NAMES`, scalars in [0,1].

    Args:
        margin: any shape, p_t = sigmoid(margin).
        gamma: focusing exponent, ≥ 0.
        weight: of each pixel, α or 1.
        positive: bool of the margins' shape.
        valid: bool, the pixels that count; None for all.
    """
    counts = torch.ones_like(margin) if valid is None else valid.to(margin.dtype)
    losses = weight * counts * focal_of_margin(margin, gamma)
    whole = losses.sum().clamp(min=torch.finfo(losses.dtype).tiny)
    return {
        "modulating": (counts * torch.exp(gamma * F.logsigmoid(-margin))).sum() / counts.sum().clamp(min=1),
        "hard_share": (losses * (margin < 0)).sum() / whole,
        "positive_share": (losses * positive).sum() / whole,
    }
