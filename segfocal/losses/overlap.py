"""Soft overlap losses on logits: Dice, IoU (Jaccard) and Tversky.

    Dice:    1 − (2·Σpt + s) / (Σp + Σt + s)                                         p = sigmoid(x)
    IoU:     1 − (Σpt + s) / (Σp + Σt − Σpt + s)
    Tversky: (1 − (Σpt + s) / (Σpt + α·Σp(1−t) + β·Σ(1−p)t + s))^e

Sources: Milletari et al., "V-Net", 3DV 2016 (Dice, here without squares in the denominator, as in SAM-Med2D and
nnU-Net); Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks", ISVC 2016; Salehi et al.,
"Tversky loss function", MLMI 2017; Abraham and Khan, "A novel focal Tversky loss", ISBI 2019 (e = 3/4).
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from segfocal.losses.fused import PixelSums
from segfocal.losses.inputs import as_mask, check_pair, computed


class _OverlapLoss(nn.Module):
    """What Dice and IoU share: the three sums, and over what they run."""

    def __init__(self, smooth: float = 1.0, batch: bool = False) -> None:
        super().__init__()
        if not smooth > 0:
            raise ValueError(f"expected smooth > 0 (it decides what an empty target costs); got {smooth}")
        self.smooth, self.batch = float(smooth), batch

    @abstractmethod
    def _loss(self, both: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the loss of Σpt, Σp and Σt, elementwise."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss, the mean over samples and classes (or over classes with `batch`)."""
        check_pair(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            p = torch.sigmoid(computed(logits))
            target = target.to(p.dtype) if target.is_floating_point() else as_mask(target)
            if p.ndim == 2:  # one pixel a class: torch sums over everything when given no axis
                p, target = p.unsqueeze(2), target.unsqueeze(2)
            axes = [axis for axis in range(p.ndim) if axis > 1 or (axis == 0 and self.batch)]
            both = (p * target).sum(axes)
            return self._loss(both, p.sum(axes), target.sum(axes, dtype=p.dtype)).mean()

    def from_sums(self, sums: PixelSums, pixels: int) -> Tensor:
        """Return the loss from the sums over maps of `pixels` pixels each."""
        both, predicted, target = (
            total.sum(0) if self.batch else total for total in (sums.both, sums.predicted, sums.target)
        )
        return self._loss(both, predicted, target).mean()

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"smooth={self.smooth}, batch={self.batch}"


class DiceLoss(_OverlapLoss):
    """One minus soft Dice of logits `[b,k,*space]` against a target of that shape.

    The target is bool, integer (non-zero is inside) or float in [0,1].

    Args:
        smooth: added above and below, > 0. An empty target costs 1 − s/(Σp + s): nothing for an empty answer, and a
            gradient that presses false positives down.
        batch: one sum over the whole batch for each class (SAM-Med2D's and nnU-Net's "batch Dice") instead of one
            for each sample and class.

    Raises:
        ValueError: smooth ≤ 0; shapes that differ, integer logits, no pixels.
    """

    def _loss(self, both: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - (2 * both + self.smooth) / (predicted + target + self.smooth)


class IoULoss(_OverlapLoss):
    """One minus soft IoU (Jaccard) of logits `[b,k,*space]`; arguments, empty targets and errors as DiceLoss."""

    def _loss(self, both: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - (both + self.smooth) / (predicted + target - both + self.smooth)


class TverskyLoss(_OverlapLoss):
    """One minus the soft Tversky index, for targets where a miss and a false alarm do not weigh the same.

    Args:
        alpha: weight of false positives, ≥ 0.
        beta: weight of false negatives, ≥ 0; alpha = beta = 0.5 is Dice (with half its smooth), 1 and 1 is IoU.
        exponent: power of the loss in (0,1]; 0.75 is the focal Tversky loss, which dwells on small overlaps less.
        smooth, batch: as DiceLoss; empty targets and errors too.

    Raises:
        ValueError: alpha or beta negative or both zero, exponent outside (0,1]; and as DiceLoss.
    """

    def __init__(
        self, alpha: float = 0.3, beta: float = 0.7, exponent: float = 1.0, smooth: float = 1.0, batch: bool = False
    ) -> None:
        super().__init__(smooth, batch)
        if min(alpha, beta) < 0 or alpha + beta <= 0:
            raise ValueError(f"expected alpha and beta ≥ 0, not both zero; got {alpha} and {beta}")
        if not 0 < exponent <= 1:
            raise ValueError(f"expected exponent in (0,1]; got {exponent}")
        self.alpha, self.beta, self.exponent = float(alpha), float(beta), float(exponent)

    def _loss(self, both: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
        missed_or_false = self.alpha * (predicted - both) + self.beta * (target - both)
        loss = 1 - (both + self.smooth) / (both + missed_or_false + self.smooth)
        # The slope of a root is infinite at zero: below 1e-6 the loss is flat instead.
        return loss if self.exponent == 1 else loss.clamp(min=1e-6) ** self.exponent

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"alpha={self.alpha}, beta={self.beta}, exponent={self.exponent}, {super().extra_repr()}"
