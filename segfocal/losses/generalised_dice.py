"""Generalised Dice: one quotient for all classes, each weighed by the inverse square of its size.

    1 − (2·Σ_k w_k Σp_k t_k + s) / (Σ_k w_k (Σp_k + Σt_k) + s),   w_k = (m / Σt_k)²,  m the smallest Σt_k > 0

Source: Sudre et al., "Generalised Dice overlap as a deep learning loss function", DLMIA 2017, with w scaled so that the
rarest class has weight one, which leaves the quotient as it is and gives `smooth` a size: pixels of the rarest class.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from segfocal.losses.dice_iou_tversky import RegionLoss, SoftCounts
from segfocal.losses.distributed import global_sum, world_size


class GeneralisedDiceLoss(RegionLoss):
    """Generalised Dice loss of logits, the mean over samples (or one quotient for the batch).

    Args:
        smooth: added above and below, in pixels of the rarest class, > 0; 1 as in RegionLoss.
        batch: one sum over the whole batch for each class, over all processes where there are several; False has a
            quotient for each sample.
        empty: a class without a pixel gets the weight of the rarest present one ("smooth") or none ("skip").
        link: "sigmoid" takes masks `[b,k,*space]`: each channel and its complement are the two classes of a quotient of
            its own. "softmax" takes class indices `[b,*space]`: all classes, the background too, share one quotient.
        validate: check values too; False, because it synchronises a GPU.

    Raises:
        ValueError: as RegionLoss.
    """

    policies: ClassVar[tuple[str, ...]] = ("smooth", "skip")
    background_counts: ClassVar[bool] = True

    def loss_of_counts(self, sums: SoftCounts, pixels: int) -> Tensor:
        """Return the loss of sums [b,k] over maps of `pixels` pixels."""
        if self.batch:
            pixels *= len(sums.both) * world_size()
            sums = SoftCounts(*[global_sum(one.sum(0, keepdim=True)) for one in sums])
        return self.cost(_with_complement(sums, pixels) if self.link == "sigmoid" else sums).mean()

    def count(self, target: Tensor, classes: int) -> Tensor | None:
        """Return None: no sample is left out of the mean, skipped classes have no weight."""
        return None

    def cost(self, sums: SoftCounts) -> Tensor:
        """Return one minus generalised Dice of soft counts whose last axis is the classes."""
        present = sums.target > 0
        size = torch.where(present, sums.target, torch.inf).amin(-1, keepdim=True)
        weight = torch.where(present, (size / sums.target.clamp(min=1e-6)).square(), float(self.empty == "smooth"))
        above = (weight * sums.both).sum(-1)
        below = (weight * (sums.predicted + sums.target)).sum(-1)
        return 1 - (2 * above + self.smooth) / (below + self.smooth)


def _with_complement(sums: SoftCounts, pixels: int) -> SoftCounts:
    """Return sums [b,k,2] of each channel and of what it leaves: 1 − p against 1 − t."""
    both, predicted, target = sums
    return SoftCounts(
        torch.stack([both, pixels - predicted - target + both], dim=-1),
        torch.stack([predicted, pixels - predicted], dim=-1),
        torch.stack([target, pixels - target], dim=-1),
    )
