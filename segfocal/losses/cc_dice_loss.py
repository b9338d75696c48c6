"""CC-Dice loss: soft Dice inside the cell of each component, the mean over components, so that each counts alike.

    L_i = 1 − (2·Σ pt + s) / (Σp + Σt + s)  [+ w · mean of −t·log p − (1−t)·log(1−p)]     sums over the cell C(i)
    L = mean of L_i over the components of all maps of the batch                                p = sigmoid(x)

C(i) are the pixels nearer to component i than to any other. A missed lesion of ten pixels costs as much as one of ten
thousand, and a false alarm lowers the Dice of the nearest lesion. With w = 1 the loss is that of Dice and cross-entropy
in each cell.

Source: Bouteille et al., "Learning to Look Closer: A New Instance-Wise Loss for Small Cerebral Lesion Segmentation",
arXiv:2511.17146, 2025 (CC-DiceCE), after the metric of Jaus et al., arXiv:2410.18684. Ours, whatever theirs does:
components are those of the whole scan, numbered once by `prepare`, so that a lesion which a slice or a crop cuts in two
stays one; cells are those of the components in a sample; the mean runs over all components of the batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from segfocal.losses.base import Term
from segfocal.losses.component_sums import CellSums, cell_sums, check_cells, present_components
from segfocal.losses.input_checks import check_pair


class CCDiceLoss(Term):
    """CC-Dice loss of logits and a target `[b,k,*space]`, given the cells of the target's components.

    Args:
        smooth: added above and below, in pixels, > 0; 1 as in DiceLoss.
        cross_entropy: weight w ≥ 0 of each cell's mean cross-entropy; 0 for Dice alone.
        empty: what the pixels of a map cost whose component is not in it: those of a slice without target, and those
            nearest to a component that augmentation has moved out. "skip": nothing, a loss beside this one judges them.
            "include": all of them in a map are one more member of the mean, at the mean of p, and w times their
            cross-entropy.
        validate: check values too; False, because it synchronises a GPU more often.

    A component that the crop cuts counts with what is left of it. Ignored pixels, background beyond doubt in logits and
    target, add nothing to Dice; to the mean cross-entropy they add 0 and are counted. The target is bool, integer
    (non-zero is inside) or float in [0,1].

    Raises:
        ValueError: smooth ≤ 0, cross_entropy < 0, an unknown empty; shapes that differ, integer logits, no pixels;
            no cells, or others than integers of the logits' shape.
    """

    uses_components = True

    def __init__(
        self,
        smooth: float = 1.0,
        cross_entropy: float = 0.0,
        empty: Literal["skip", "include"] = "skip",
        validate: bool = False,
    ) -> None:
        super().__init__(validate=validate)
        if not smooth > 0 or not cross_entropy >= 0:
            raise ValueError(f"expected smooth > 0 and cross_entropy ≥ 0; got {smooth} and {cross_entropy}")
        if empty not in ("skip", "include"):
            raise ValueError(f"expected empty skip or include; got {empty!r}")
        self.smooth, self.cross_entropy, self.empty = float(smooth), float(cross_entropy), empty

    def forward(self, logits: Tensor, target: Tensor, cells: Tensor | None = None) -> Tensor:
        """Return the scalar loss; cells: integers ≥ 0 of the logits' shape, the number of the component nearest."""
        check_pair(logits, target, validate=self.validate)
        cells = check_cells(logits, cells, type(self).__name__, validate=self.validate)
        with torch.autocast(logits.device.type, enabled=False):
            sums = cell_sums(logits, target, cells, cross_entropy=self.cross_entropy > 0)
            present = sums.target > 0
            costs, count = (self._cost(sums) * present).sum(), present.sum()
            if self.empty == "include":
                left, exists = self._left(sums, present)
                costs, count = costs + left, count + exists
            return costs / self.divisor(count.to(costs.dtype))

    def count_of_components(self, target: Tensor, cells: Tensor) -> Tensor:
        """Return the number of members of the mean."""
        present = present_components(target, cells)
        if self.empty == "skip":
            return present.sum()
        sums = cell_sums(torch.zeros(target.shape, device=target.device), target, cells)
        return present.sum() + self._left(sums, present)[1]

    def _cost(self, sums: CellSums) -> Tensor:
        dice = 1 - (2 * sums.both + self.smooth) / (sums.predicted + sums.target + self.smooth)
        return dice + self.cross_entropy * sums.cross_entropy / sums.pixels.clamp(min=1)

    def _left(self, sums: CellSums, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the maps' pixels in cells without a component cost, summed over maps, and in how many maps."""
        predicted, entropy, pixels = (
            (one * ~present).sum(-1) for one in (sums.predicted, sums.cross_entropy, sums.pixels)
        )
        costs = (predicted + self.cross_entropy * entropy) / pixels.clamp(min=1)
        return costs.sum(), (pixels > 0).sum()

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"smooth={self.smooth}, cross_entropy={self.cross_entropy}, empty={self.empty!r}"
