"""Focal losses on probabilities, for networks whose last layer is already a sigmoid or softmax.

    FL(p_t) = −α_t (1 − p_t)^γ log p_t

The less safe form: a probability rounded to 0 or 1 has forgotten how wrong it is, so its gradient is cut off by an
epsilon; under guard "add" it reaches 1/epsilon, too large for float16. Take the last layer off and use `FocalLoss` or
`SoftmaxFocalLoss` on logits where you can.

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5; the epsilons are those in common use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from segfocal.losses.inputs import as_mask, check_pair, computed, reduced

Guard = Literal["clip", "add"]


class _ProbabilityFocalLoss(nn.Module):
    """What both share: the exponent, the guard against log 0, and the reduction."""

    def __init__(self, gamma: float, epsilon: float, guard: Guard, reduction: str) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"expected gamma ≥ 0; got {gamma}")
        if not 0 < epsilon < 0.5:
            raise ValueError(f"expected epsilon in (0, 0.5); got {epsilon}")
        if guard not in ("clip", "add"):
            raise ValueError(f"expected guard clip or add; got {guard!r}")
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"expected reduction mean, sum or none; got {reduction!r}")
        self.gamma, self.epsilon, self.guard, self.reduction = float(gamma), float(epsilon), guard, reduction

    def _focal(self, p: Tensor) -> Tensor:
        """Return −(1 − p)^γ log p, guarded."""
        if self.guard == "clip":
            p = p.clamp(self.epsilon, 1 - self.epsilon)
            return -((1 - p) ** self.gamma) * p.log()
        # The base stays above epsilon too: the slope of its γ-th power is infinite at zero for γ < 1.
        return -((1 - p).clamp(min=self.epsilon) ** self.gamma) * (p + self.epsilon).log()

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"gamma={self.gamma}, epsilon={self.epsilon}, guard={self.guard!r}, reduction={self.reduction!r}"


class SigmoidProbabilityFocalLoss(_ProbabilityFocalLoss):
    """Binary focal loss of probabilities `[b,k,*space]` in [0,1] against a target of that shape.

    Args:
        gamma: focusing exponent, ≥ 0.
        alpha: weight of the positives in [0,1], negatives get 1 − alpha; None weighs both by one.
        epsilon, guard: "clip" keeps p in [ε, 1 − ε], "add" takes log(p + ε). ε below 1e-7 is lost in float32.
        reduction: "mean" over all pixels, "sum", or "none".

    The target is bool, integer (non-zero is inside) or float in [0,1].

    Raises:
        ValueError: an option out of range; shapes that differ, integer probabilities, no pixels.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = 0.25,
        epsilon: float = 1e-6,
        guard: Guard = "clip",
        reduction: str = "mean",
    ) -> None:
        super().__init__(gamma, epsilon, guard, reduction)
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"expected alpha in [0,1] or None; got {alpha}")
        self.alpha = alpha

    def forward(self, probability: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map of the input's shape with reduction "none"."""
        check_pair(probability, target)
        with torch.autocast(probability.device.type, enabled=False):
            p = computed(probability)
            t = as_mask(target).to(p.dtype)
            positive, negative = (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)
            losses = positive * t * self._focal(p) + negative * (1 - t) * self._focal(1 - p)
            return reduced(losses, self.reduction, count=losses.numel())


class SoftmaxProbabilityFocalLoss(_ProbabilityFocalLoss):
    """Multi-class focal loss of probabilities `[b,c,*space]` (sum over c is one) against one-hot targets of that shape.

    Args:
        gamma, epsilon, guard: as SigmoidProbabilityFocalLoss.
        alpha: a weight ≥ 0 for each class, [c], or None for ones.
        reduction: "mean" over pixels (not over classes), "sum", or "none" (a map `[b,*space]`).

    Raises:
        ValueError: an option out of range; shapes that differ, integer probabilities, no pixels, alpha of another
            length than c.
    """

    alpha: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: Sequence[float] | Tensor | None = None,
        epsilon: float = 1e-6,
        guard: Guard = "clip",
        reduction: str = "mean",
    ) -> None:
        super().__init__(gamma, epsilon, guard, reduction)
        weights = None if alpha is None else torch.as_tensor(alpha, dtype=torch.float64)
        if weights is not None and (weights.ndim != 1 or not len(weights) or not (weights >= 0).all()):
            raise ValueError(f"expected one alpha ≥ 0 for each class; got {alpha}")
        self.register_buffer("alpha", weights)

    def forward(self, probability: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map `[b,*space]` with reduction "none"."""
        check_pair(probability, target)
        if self.alpha is not None and len(self.alpha) != probability.shape[1]:
            raise ValueError(f"expected an alpha for each of {probability.shape[1]} classes; got {len(self.alpha)}")
        with torch.autocast(probability.device.type, enabled=False):
            p = computed(probability)
            losses = as_mask(target).to(p.dtype) * self._focal(p)
            if self.alpha is not None:
                losses = losses * self.alpha.to(p.dtype).reshape(1, -1, *[1] * (p.ndim - 2))
            losses = losses.sum(dim=1)
            return reduced(losses, self.reduction, count=losses.numel())
