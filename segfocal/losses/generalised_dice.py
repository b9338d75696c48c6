"""Generalised Dice: one quotient for all classes, each weighed by the inverse square of its size.

    1 − (2·Σ_k w_k Σp_k t_k + s) / (Σ_k w_k (Σp_k + Σt_k) + s),   w_k = (m / Σt_k)²,  m the smallest Σt_k > 0

Source: Sudre et al., "Generalised Dice overlap as a deep learning loss function", DLMIA 2017, with w scaled so that the
rarest class has weight one, which leaves the quotient as it is and gives `smooth` a size: pixels of the rarest class.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segfocal.losses.fused import PixelSums
from segfocal.losses.inputs import check_classes, check_pair, computed
from segfocal.losses.overlap import Overlap, overlap
from segfocal.losses.processes import processes, total
from segfocal.losses.term import Link, Term


class GeneralisedDiceLoss(Term):
    """Generalised Dice loss of logits, the mean over samples (or one quotient for the batch).

    Args:
        smooth: added above and below, > 0.
        batch: one sum over the whole batch for each class, over all processes where there are several.
        empty: a class without a pixel gets the weight of the rarest present one ("smooth") or none ("skip").
        link: "sigmoid" takes masks `[b,k,*space]`: each channel and its complement are the two classes of a quotient of
            its own. "softmax" takes class indices `[b,*space]`: all classes, the background too, share one quotient.
        validate: check values too; synchronises a GPU.

    Raises:
        ValueError: smooth ≤ 0, an unknown empty or link; and as FocalLoss about logits and target.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        batch: bool = False,
        empty: Literal["smooth", "skip"] = "smooth",
        link: Link = "sigmoid",
        validate: bool = False,
    ) -> None:
        super().__init__(validate=validate)
        if not smooth > 0:
            raise ValueError(f"expected smooth > 0 (it decides what an empty target costs); got {smooth}")
        if empty not in ("smooth", "skip"):
            raise ValueError(f"expected empty smooth or skip; got {empty!r}")
        if link not in ("sigmoid", "softmax"):
            raise ValueError(f"expected link sigmoid or softmax; got {link!r}")
        self.smooth, self.batch, self.empty, self.link = float(smooth), batch, empty, link

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss."""
        if self.link == "softmax":
            check_classes(logits, target, validate=self.validate)
        else:
            check_pair(logits, target, validate=self.validate)
        with torch.autocast(logits.device.type, enabled=False):
            x = computed(logits)
            sums = overlap(x, target, self.link, background=True)
            return self._of(sums, x.shape[2:].numel())

    def from_sums(self, sums: PixelSums, pixels: int) -> Tensor:
        """Return the loss from the sums over maps of `pixels` pixels each; for link sigmoid."""
        return self._of(Overlap(sums.both, sums.predicted, sums.target), pixels)

    def _of(self, sums: Overlap, pixels: int) -> Tensor:
        if self.batch:
            pixels *= len(sums.both) * processes()
            sums = Overlap(*[total(one.sum(0, keepdim=True)) for one in sums])
        if self.link == "sigmoid":
            sums = _with_complement(sums, pixels)
        present = sums.target > 0
        size = torch.where(present, sums.target, torch.inf).amin(-1, keepdim=True)
        weight = torch.where(present, (size / sums.target.clamp(min=1e-6)).square(), float(self.empty == "smooth"))
        above = (weight * sums.both).sum(-1)
        below = (weight * (sums.predicted + sums.target)).sum(-1)
        return (1 - (2 * above + self.smooth) / (below + self.smooth)).mean()

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"smooth={self.smooth}, batch={self.batch}, empty={self.empty!r}, link={self.link!r}"


def _with_complement(sums: Overlap, pixels: int) -> Overlap:
    """Return sums [b,k,2] of each channel and of what it leaves: 1 − p against 1 − t."""
    both, predicted, target = sums
    return Overlap(
        torch.stack([both, pixels - predicted - target + both], dim=-1),
        torch.stack([predicted, pixels - predicted], dim=-1),
        torch.stack([target, pixels - target], dim=-1),
    )
