"""Focal losses on probabilities, for networks whose last layer is already a sigmoid or softmax.

    FL(p_t) = −α_t (1 − p_t)^γ log p_t

The less safe form: a probability rounded to 0 or 1 has lost how wrong it is, so an epsilon guards its logarithm and
cuts its gradient off; under guard "add" the gradient reaches 1/epsilon, too large for float16. Take the last layer off
and use `FocalLoss` or `SoftmaxFocalLoss` on logits where you can. A `WeightedSum`, called with logits, refuses these.

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
from segfocal.losses.loss_schedules import NumberOrSchedule

Guard = Literal["clip", "add"]


class GuardedFocal:
    """−(1 − p)^γ log p with a guard against log 0, which the sigmoid and the softmax form share.

    guard: "clip" keeps p in [ε, 1 − ε], where the gradient is 0 beyond; "add" takes log(p + ε).
    """

    gamma: float
    reduction: str

    def guard_with(self, epsilon: float, guard: Guard) -> None:
        """Set the guard; ValueError for ε outside (0, 0.5) and an unknown guard."""
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


class SigmoidProbabilityFocalLoss(AlphaTerm, GuardedFocal):
    """Binary focal loss of probabilities `[b,k,*space]` in [0,1] against a target of that shape.

    Args:
        gamma: focusing exponent, ≥ 0; 2, the paper's best. May follow training.
        alpha: weight of the positives in [0,1]; 0.25, a list, None and "inverse_frequency" as in FocalLoss.
        epsilon: the guard's ε in (0, 0.5); 1e-6, because 1 − ε below 1e-7 is 1 in float32.
        guard: "clip" keeps p in [ε, 1 − ε]; "add" takes log(p + ε), whose gradient reaches 1/ε.
        reduction: "mean" over all pixels, "sum", or "none" for a map.
        validate: check values too; False, because it synchronises a GPU.

    The target is bool, integer (non-zero is inside) or float in [0,1].

    Raises:
        ValueError: an option out of range; shapes that differ, integer probabilities, no pixels.
    """

    takes_probabilities = True

    def __init__(
        self,
        gamma: NumberOrSchedule = 2.0,
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
            on_positives, on_negatives = self.side_weights(p)
            losses = on_positives * t * self.focal(p) + on_negatives * (1 - t) * self.focal(1 - p)
            return reduced(losses, self.reduction, count=losses.numel())

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"{self.alpha_repr()}, {self.guard_repr()}"


class SoftmaxProbabilityFocalLoss(ClassTerm, GuardedFocal):
    """Multi-class focal loss of probabilities `[b,c,*space]` whose sum over c is one.

    The target is one-hot, of that shape, or class indices `[b,*space]`.

    Args:
        gamma: focusing exponent, ≥ 0; 2, the paper's best. May follow training.
        alpha: a weight ≥ 0 for each class, [c]; None for ones; "inverse_frequency" waits for `use_rates`.
        epsilon: the guard's ε in (0, 0.5); 1e-6, because 1 − ε below 1e-7 is 1 in float32.
        guard: "clip" keeps p in [ε, 1 − ε]; "add" takes log(p + ε), whose gradient reaches 1/ε.
        reduction: "mean" over pixels (not over classes), "sum", or "none" (a map `[b,*space]`).
        validate: check values too; False, because it synchronises a GPU.

    Raises:
        ValueError: an option out of range; shapes that differ, integer probabilities, no pixels, alpha of another
            length than c.
    """

    takes_probabilities = True
    alpha: Tensor | None

    def __init__(
        self,
        gamma: NumberOrSchedule = 2.0,
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
