"""Dice, IoU (Jaccard) and Tversky losses on logits: one minus a soft score of a region.

    Dice:    1 − (2·Σpt + s) / (Σp + Σt + s)                                         p = sigmoid(x) or softmax(x)
    IoU:     1 − (Σpt + s) / (Σp + Σt − Σpt + s)
    Tversky: (1 − (Σpt + s) / (Σpt + α·Σp(1−t) + β·Σ(1−p)t + s))^e

Sources: Milletari et al., "V-Net", 3DV 2016 (Dice, here without squares in the denominator, as in SAM-Med2D and
nnU-Net); Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks", ISVC 2016; Salehi et al.,
"Tversky loss function", MLMI 2017; Abraham and Khan, "A novel focal Tversky loss", ISBI 2019 (e = 3/4).

All three read the soft counts Σpt, Σp and Σt. In training on a hard target they come from the one pass of `fused.py`
(`RegionLoss.from_sums`), else from `soft_counts` (`RegionLoss.forward`); `cost` is the formula for both.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from segfocal.losses.base import Link, PixelSums, Term
from segfocal.losses.distributed import global_sum, world_size
from segfocal.losses.input_checks import as_mask, check_classes, check_pair, computed, one_hot

Empty = Literal["smooth", "include", "skip"]


class SoftCounts(NamedTuple):
    """Pixels counted by probability: Σpt, Σp and Σt, each [b,k], or [k] over a whole batch."""

    both: Tensor
    predicted: Tensor
    target: Tensor


class RegionLoss(Term):
    """What Dice, IoU and Tversky share: the soft counts, over what they run, and what an empty target costs.

    Args:
        smooth: added above and below, in pixels, > 0; 1 as in SAM-Med2D.
        batch: one sum over the whole batch for each class (SAM-Med2D's and nnU-Net's "batch Dice"), over all processes
            where there are several; False, the definition, has one for each sample and class.
        empty: what a target without a pixel costs. "smooth", the formula as it stands: nothing for an empty answer,
            near one for a few false pixels, with a gradient that fades as they grow in number. "include": the mean of
            p, the falsely claimed share of the image, whose gradient presses every pixel down alike. "skip": nothing,
            without a gradient; it is left out of the mean.
        link: "sigmoid" for masks, "softmax" for class indices; then the background, class 0, is no target.
        validate: check values too; False, because it synchronises a GPU.

    Raises:
        ValueError: smooth ≤ 0, an unknown empty or link; and as FocalLoss about logits and target.
    """

    policies: ClassVar[tuple[str, ...]] = ("smooth", "include", "skip")
    background_counts: ClassVar[bool] = False  # whether the first of softmax classes is one of the classes

    def __init__(
        self,
        smooth: float = 1.0,
        batch: bool = False,
        empty: Empty = "smooth",
        link: Link = "sigmoid",
        validate: bool = False,
    ) -> None:
        super().__init__(validate=validate)
        if not smooth > 0:
            raise ValueError(f"expected smooth > 0 (it decides what an empty target costs); got {smooth}")
        if empty not in self.policies:
            raise ValueError(f"expected empty {', '.join(self.policies[:-1])} or {self.policies[-1]}; got {empty!r}")
        if link not in ("sigmoid", "softmax"):
            raise ValueError(f"expected link sigmoid or softmax; got {link!r}")
        self.smooth, self.batch, self.empty, self.link = float(smooth), batch, empty, link

    @property
    def takes_sums(self) -> bool:
        """Whether `from_sums` serves: for masks, and not where a subclass has a `forward` of its own."""
        return self.link == "sigmoid" and type(self).forward is RegionLoss.forward

    @property
    def spans_batch(self) -> bool:
        """Whether its sums run over the batch."""
        return self.batch

    def count(self, target: Tensor, classes: int) -> Tensor | None:
        """Return the number of targets with a pixel, where the others are skipped one by one."""
        if self.batch or self.empty != "skip":
            return None
        masks = one_hot(target, classes)[:, 1:] if self.link == "softmax" else as_mask(target) > 0
        return masks.flatten(2).any(2).sum()

    @abstractmethod
    def cost(self, sums: SoftCounts) -> Tensor:
        """Return the loss of the soft counts, elementwise."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss, the mean over samples and classes (or over classes with `batch`)."""
        if self.link == "softmax":
            check_classes(logits, target, validate=self.validate)
        else:
            check_pair(logits, target, validate=self.validate)
        with torch.autocast(logits.device.type, enabled=False):
            x = computed(logits)
            sums = soft_counts(x, target, self.link, background=self.background_counts)
            return self.loss_of_counts(sums, x.shape[2:].numel())

    def from_sums(self, sums: PixelSums, pixels: int) -> Tensor:
        """Return the loss from the sums over maps of `pixels` pixels each."""
        return self.loss_of_counts(SoftCounts(sums.both, sums.predicted, sums.target), pixels)

    def loss_of_counts(self, sums: SoftCounts, pixels: int) -> Tensor:
        """Return the loss of sums [b,k] over maps of `pixels` pixels."""
        if self.batch:
            pixels *= len(sums.both) * world_size()
            sums = SoftCounts(*[global_sum(one.sum(0)) for one in sums])
        costs = self.cost(sums)
        if self.empty == "smooth":
            return costs.mean()
        if self.empty == "include":
            return torch.where(sums.target > 0, costs, sums.predicted / pixels).mean()
        present = (sums.target > 0).to(costs.dtype)
        count = present.sum().clamp(min=1) if self.batch else self.divisor(present.sum())
        return (costs * present).sum() / count

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"smooth={self.smooth}, batch={self.batch}, empty={self.empty!r}, link={self.link!r}"


def soft_counts(logits: Tensor, target: Tensor, link: Link, *, background: bool = False) -> SoftCounts:
    """Return the soft counts [b,k].

    Args:
        logits: `[b,k,*space]`, or `[b,c,*space]` under softmax; float32 or float64.
        target: masks of that shape, or class indices `[b,*space]` under softmax.
        link: what makes probabilities of the logits.
        background: count softmax class 0 too; False, because it is no structure.
    """
    if link == "softmax":
        first = 0 if background else 1
        p = torch.softmax(logits, dim=1)[:, first:]
        target = one_hot(target, logits.shape[1])[:, first:]
    else:
        p = torch.sigmoid(logits)
        target = target.to(p.dtype) if target.is_floating_point() else as_mask(target)
    if p.ndim == 2:  # one pixel a class: torch sums over everything when given no axis
        p, target = p.unsqueeze(2), target.unsqueeze(2)
    axes = list(range(2, p.ndim))
    return SoftCounts((p * target).sum(axes), p.sum(axes), target.sum(axes, dtype=p.dtype))


class DiceLoss(RegionLoss):
    """One minus soft Dice of logits `[b,k,*space]` against a target of that shape (or class indices, link softmax).

    The target is bool, integer (non-zero is inside) or float in [0,1]. Arguments and errors: see RegionLoss.
    Source: Milletari et al., 3DV 2016, without their squares.
    """

    def cost(self, sums: SoftCounts) -> Tensor:
        """Return one minus Dice of the soft counts, elementwise."""
        return 1 - (2 * sums.both + self.smooth) / (sums.predicted + sums.target + self.smooth)


class IoULoss(RegionLoss):
    """One minus soft IoU (Jaccard) of logits `[b,k,*space]`; targets as DiceLoss, the rest as RegionLoss.

    Source: Rahman and Wang, ISVC 2016, with `smooth`.
    """

    def cost(self, sums: SoftCounts) -> Tensor:
        """Return one minus IoU of the soft counts, elementwise."""
        return 1 - (sums.both + self.smooth) / (sums.predicted + sums.target - sums.both + self.smooth)


class TverskyLoss(RegionLoss):
    """One minus the soft Tversky index, for targets where a miss and a false alarm do not weigh the same.

    Args:
        alpha: weight of false positives, ≥ 0; 0.3 as in Salehi et al. for small lesions.
        beta: weight of false negatives, ≥ 0; 0.7 as there. 0.5 and 0.5 are Dice (with half its smooth), 1 and 1 IoU.
        exponent: power e of the loss in (0,1]; 1 is plain, 0.75 the focal Tversky loss, steeper near a perfect answer.
        smooth: added above and below, in pixels, > 0; 1 as in RegionLoss.
        batch: one sum over the whole batch for each class; False as in RegionLoss.
        empty: what an empty target costs: "smooth", "include" or "skip", as in RegionLoss.
        link: "sigmoid" for masks, "softmax" for class indices.
        validate: check values too; False, because it synchronises a GPU.

    Raises:
        ValueError: alpha or beta negative or both zero, exponent outside (0,1]; and as RegionLoss.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        exponent: float = 1.0,
        smooth: float = 1.0,
        batch: bool = False,
        empty: Empty = "smooth",
        link: Link = "sigmoid",
        validate: bool = False,
    ) -> None:
        super().__init__(smooth, batch, empty, link, validate)
        if not (min(alpha, beta) >= 0 and 0 < alpha + beta < math.inf):
            raise ValueError(f"expected alpha and beta ≥ 0, not both zero; got {alpha} and {beta}")
        if not 0 < exponent <= 1:
            raise ValueError(f"expected exponent in (0,1]; got {exponent}")
        self.alpha, self.beta, self.exponent = float(alpha), float(beta), float(exponent)

    def cost(self, sums: SoftCounts) -> Tensor:
        """Return the Tversky loss of the soft counts, elementwise."""
        missed_or_false = self.alpha * (sums.predicted - sums.both) + self.beta * (sums.target - sums.both)
        loss = 1 - (sums.both + self.smooth) / (sums.both + missed_or_false + self.smooth)
        # The slope of a root is infinite at zero: below 1e-6 the loss is flat instead.
        return loss if self.exponent == 1 else loss.clamp(min=1e-6) ** self.exponent

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"alpha={self.alpha}, beta={self.beta}, exponent={self.exponent}, {super().extra_repr()}"
