"""Focal losses on probabilities, for networks whose last layer is already a sigmoid or softmax.

    FL(p_t) = −α_t (1 − p_t)^γ log p_t

The less safe form: a probability rounded to 0 or 1 has forgotten how wrong it is, so its gradient is cut off by an
epsilon; under guard "add" it reaches 1/epsilon, too large for float16. Take the last layer off and use `FocalLoss` or
`SoftmaxFocalLoss` on logits where you can.

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5; the epsilons are those in common use.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segfocal.losses.class_weights import Alpha, AlphaTerm, ClassTerm, ClassWeights
from segfocal.losses.input_checks import (
    as_mask,
    check_classes,
    check_gamma,
    check_pair,
    check_probability,
    check_reduction,
    computed,
    one_hot,
    reduced,
)
from segfocal.losses.parameter_schedules import Followed

Guard = Literal["clip", "add"]


class Guarded:
    """The guard against log 0 that both share."""

    gamma: float
    reduction: str
    takes_probabilities = True

    def guard_with(self, epsilon: float, guard: Guard) -> None:
        """Take over the guard; ValueError for one that is none."""
        if not 0 < epsilon < 0.5:
            raise ValueError(f"expected epsilon in (0, 0.5); got {epsilon}")
        if guard not in ("clip", "add"):
            raise ValueError(f"expected guard clip or add; got {guard!r}")
        self.epsilon, self.guard = float(epsilon), guard

    def focal(self, p: Tensor) -> Tensor:
        """Return −(1 − p)^γ log p, guarded."""
        if self.guard == "clip":
            p = p.clamp(self.epsilon, 1 - self.epsilon)
            return -((1 - p) ** self.gamma) * p.log()
        # The base stays above epsilon too: the slope of its γ-th power is infinite at zero for γ < 1.
        return -((1 - p).clamp(min=self.epsilon) ** self.gamma) * (p + self.epsilon).log()

    def guard_repr(self) -> str:
        """Return the options, for printing."""
        return f"gamma={self.gamma}, epsilon={self.epsilon}, guard={self.guard!r}, reduction={self.reduction!r}"


class SigmoidProbabilityFocalLoss(AlphaTerm, Guarded):
    """Binary focal loss of probabilities `[b,k,*space]` in [0,1] against a target of that shape.

    Args:
        gamma: focusing exponent, ≥ 0. May follow training.
        alpha: as FocalLoss.
        epsilon, guard: "clip" keeps p in [ε, 1 − ε], "add" takes log(p + ε). ε below 1e-7 is lost in float32.
        reduction: "mean" over all pixels, "sum", or "none".
        validate: check values too; synchronises a GPU.

    The target is bool, integer (non-zero is inside) or float in [0,1].

    Raises:
        ValueError: an option out of range; shapes that differ, integer probabilities, no pixels.
    """

    def __init__(
        self,
        gamma: Followed = 2.0,
        alpha: Alpha = 0.25,
        epsilon: float = 1e-6,
        guard: Guard = "clip",
        reduction: str = "mean",
        validate: bool = False,
    ) -> None:
        super().__init__(alpha, validate=validate)
        check_reduction(reduction)
        self.guard_with(epsilon, guard)
        self.gamma, self.reduction = self.follow("gamma", gamma, check_gamma), reduction

    def forward(self, probability: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map of the input's shape with reduction "none"."""
        self.check(probability, target)
        check_probability(probability, validate=self.validate)
        with torch.autocast(probability.device.type, enabled=False):
            p = computed(probability)
            t = as_mask(target).to(p.dtype)
            on_positives, on_negatives = self.sides(p)
            losses = on_positives * t * self.focal(p) + on_negatives * (1 - t) * self.focal(1 - p)
            return reduced(losses, self.reduction, count=losses.numel())

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"{self.alpha_repr()}, {self.guard_repr()}"


class SoftmaxProbabilityFocalLoss(ClassTerm, Guarded):
    """Multi-class focal loss of probabilities `[b,c,*space]` whose sum over c is one.

    The target is one-hot, of that shape, or class indices `[b,*space]`.

    Args:
        gamma, epsilon, guard, validate: as SigmoidProbabilityFocalLoss.
        alpha: as SoftmaxFocalLoss.
        reduction: "mean" over pixels (not over classes), "sum", or "none" (a map `[b,*space]`).

    Raises:
        ValueError: an option out of range; shapes that differ, integer probabilities, no pixels, alpha of another
            length than c.
    """

    alpha: Tensor | None

    def __init__(
        self,
        gamma: Followed = 2.0,
        alpha: ClassWeights = None,
        epsilon: float = 1e-6,
        guard: Guard = "clip",
        reduction: str = "mean",
        validate: bool = False,
    ) -> None:
        super().__init__(alpha, validate=validate)
        check_reduction(reduction)
        self.guard_with(epsilon, guard)
        self.gamma, self.reduction = self.follow("gamma", gamma, check_gamma), reduction

    def forward(self, probability: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map `[b,*space]` with reduction "none"."""
        if target.ndim == probability.ndim - 1:
            check_classes(probability, target, validate=self.validate)
            target = one_hot(target, probability.shape[1])
        check_pair(probability, target, validate=self.validate)
        check_probability(probability, validate=self.validate)
        self.check_ready(probability.shape[1])
        with torch.autocast(probability.device.type, enabled=False):
            p = computed(probability)
            losses = as_mask(target).to(p.dtype) * self.focal(p)
            if self.alpha is not None:
                losses = losses * self.alpha.to(p.dtype).reshape(1, -1, *[1] * (p.ndim - 2))
            losses = losses.sum(dim=1)
            return reduced(losses, self.reduction, count=losses.numel())

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"{self.weights_repr()}, {self.guard_repr()}"
