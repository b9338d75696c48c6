"""Multi-class focal loss on softmax logits.

    FL(p_t) = −α_t (1 − p_t)^γ log p_t,   p = softmax(x),  p_t the probability of a pixel's true class t

With the margin m = x_t − log Σ_{j≠t} exp(x_j), the log-odds of the true class against all others together,
p_t = sigmoid(m). The loss is the binary one of m, shares its arithmetic (`focal.focal_of_margin`), and is as finite: no
1 − p_t is ever formed from a rounded p_t. This file's `forward` is what trains.

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5, with softmax in place of sigmoid.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segfocal.losses.class_weights import ClassTerm, ClassWeights
from segfocal.losses.focal import ANATOMY_NAMES, focal_anatomy, focal_of_margin
from segfocal.losses.input_checks import check_classes, check_gamma, check_reduction, computed, reduced
from segfocal.losses.loss_schedules import NumberOrSchedule


class SoftmaxFocalLoss(ClassTerm):
    """Focal loss of logits `[b,c,*space]` (any number of spatial axes) against class indices `[b,*space]`.

    Args:
        gamma: focusing exponent, ≥ 0; 2, the paper's best; 0 without alpha is `torch.nn.functional.cross_entropy`. May
            follow training.
        alpha: a weight ≥ 0 for each class, [c]; None for ones; "inverse_frequency" waits for `use_rates`.
        ignore_index: class index of pixels that count neither in the sum nor in the mean; None for none.
        reduction: "mean" over the valid pixels (0 where there are none), "sum", or "none" (a map `[b,*space]`, 0 where
            ignored). Unlike torch's weighted cross-entropy the mean does not divide by the sum of the weights.
        validate: check values too; False, because it synchronises a GPU.

    Raises:
        ValueError: gamma < 0, a negative or empty alpha, unknown reduction; shapes that do not fit, integer logits, a
            target that is not integer, alpha of another length than c; with validate, an index out of range, logits
            that are not finite.
    """

    anatomy_names = ANATOMY_NAMES
    alpha: Tensor | None

    def __init__(
        self,
        gamma: NumberOrSchedule = 2.0,
        alpha: ClassWeights = None,
        ignore_index: int | None = None,
        reduction: Literal["mean", "sum", "none"] = "mean",
        validate: bool = False,
    ) -> None:
        super().__init__(alpha, validate=validate)
        check_reduction(reduction)
        self.gamma, self.ignore_index, self.reduction = (
            self.follow("gamma", gamma, check_gamma),
            ignore_index,
            reduction,
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map `[b,*space]` with reduction "none"."""
        check_classes(logits, target, ignore_index=self.ignore_index, validate=self.validate)
        self.check_ready(logits.shape[1])
        with torch.autocast(logits.device.type, enabled=False):
            index, valid = self._valid(target)
            losses = focal_of_margin(margin(computed(logits), index), self.gamma)
            if self.alpha is not None:
                losses = losses * self.alpha.to(losses.dtype)[index]
            if valid is None:
                return reduced(losses, self.reduction, count=losses.numel())
            count = self.divisor(valid.sum(dtype=losses.dtype)) if self.reduction == "mean" else 1
            return reduced(torch.where(valid, losses, 0.0), self.reduction, count=count)

    def count(self, target: Tensor, classes: int) -> Tensor | None:
        """Return the number of valid pixels, where some may be ignored in a mean."""
        valid = self._valid(target)[1]
        return None if valid is None or self.reduction != "mean" else valid.sum()

    @torch.no_grad()
    def anatomy(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return what `FocalLoss.anatomy` does; every class but the first counts as positive."""
        with torch.autocast(logits.device.type, enabled=False):
            index, valid = self._valid(target)
            over = margin(computed(logits), index)
            weight = torch.ones_like(over) if self.alpha is None else self.alpha.to(over.dtype)[index]
            return focal_anatomy(over, self.gamma, weight=weight, positive=index > 0, valid=valid)

    def _valid(self, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return indices that are safe to look up, and where they count; None for everywhere."""
        if self.ignore_index is None:
            return target.long(), None
        index = target.long()  # first: a uint8 would compare −100 as 156
        valid = index != self.ignore_index
        return torch.where(valid, index, 0), valid

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return (
            f"gamma={self.gamma}, {self.weights_repr()}, ignore_index={self.ignore_index}, reduction={self.reduction!r}"
        )


def margin(logits: Tensor, index: Tensor) -> Tensor:
    """Return x_t − log Σ_{j≠t} exp(x_j) of logits [b,c,*space] for true classes [b,*space], c ≥ 2."""
    at = index.unsqueeze(1)
    others = logits.scatter(1, at, -torch.inf)
    largest = others.detach().amax(dim=1, keepdim=True)  # taken off first, or large shared logits cost their last bits
    return (logits.gather(1, at) - largest).squeeze(1) - (others - largest).logsumexp(dim=1)
