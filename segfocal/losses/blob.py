"""Blob loss: a loss for each component of the target, the other components left out, and the mean over components.

    L = mean over components i of ℓ(Ω without C_j for all j ≠ i)                      C_i the pixels of component i

ℓ is Dice or the focal loss of the pixels left. With B the background, outside every component,

    Dice:  1 − (2·Σ_{C_i} p + s) / (Σ_{C_i} p + Σ_B p + |C_i| + s)
    focal: (α·Σ_{C_i} FL + (1 − α)·Σ_B FL) / (|C_i| + |B|)

so the sums over the background are taken once for all components of a map, and the rest at the pixels of the target.

Source: Kofler et al., "blob loss: instance imbalance aware loss functions for semantic segmentation", IPMI 2023,
arXiv:2205.08209, where it weighs 1 beside the plain loss with 2. Deliberate differences: the other components are left
out of the sums, where their code multiplies the network's output there by 0, so that logits say one half; and the mean
runs over all components of the batch, not over those of a sample and then over samples. As in theirs, a map without a
component has no term.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.losses.class_weights import Alpha, AlphaTerm
from segfocal.losses.component_sums import Foreground, check_cells, foreground, hard, present_components
from segfocal.losses.focal import focal_of_margin
from segfocal.losses.fused import pixel_sums
from segfocal.losses.input_checks import check_gamma, computed
from segfocal.losses.loss_schedules import NumberOrSchedule

SURE = -1.0e4  # a logit of which sigmoid and every loss make exactly 0


class BlobLoss(AlphaTerm):
    """Blob loss of logits and a hard target `[b,k,*space]`, given the cells of the target's components.

    Args:
        of: the loss ℓ of each component: "dice", or "focal", which with gamma 0 is cross-entropy.
        smooth: of Dice, in pixels, > 0; 1 as in DiceLoss.
        gamma: of focal, ≥ 0; 2 as in FocalLoss. May follow training.
        alpha: of focal, weight of the positives in [0,1], a list for the channels, None or "inverse_frequency", as in
            FocalLoss; None, because a component stands against the whole background already.
        validate: check values too; False, because it synchronises a GPU more often.

    A map without a component, such as a slice without target, has no term, so a loss beside this one must judge it. A
    component that the crop cuts counts with what is left of it. Ignored pixels, background beyond doubt in logits and
    target, add 0 and are counted in |B|. A soft target is inside from one half on.

    Raises:
        ValueError: an unknown `of`, smooth ≤ 0, gamma or alpha out of range; shapes that differ, integer logits, no
            pixels, an alpha for another number of channels; no cells, or others than integers of the logits' shape.
    """

    uses_components = True

    def __init__(
        self,
        of: Literal["dice", "focal"] = "dice",
        smooth: float = 1.0,
        gamma: NumberOrSchedule = 2.0,
        alpha: Alpha = None,
        validate: bool = False,
    ) -> None:
        super().__init__(alpha, validate=validate)
        if of not in ("dice", "focal"):
            raise ValueError(f"expected a blob loss of dice or focal; got {of!r}")
        if not smooth > 0:
            raise ValueError(f"expected smooth > 0; got {smooth}")
        self.of, self.smooth, self.gamma = of, float(smooth), self.follow("gamma", gamma, check_gamma)

    def forward(self, logits: Tensor, target: Tensor, cells: Tensor | None = None) -> Tensor:
        """Return the scalar loss; cells: integers ≥ 0 of the logits' shape, the number of the component nearest."""
        self.check(logits, target)
        cells = check_cells(logits, cells, type(self).__name__, validate=self.validate)
        with torch.autocast(logits.device.type, enabled=False):
            x, inside = computed(logits), hard(target)
            found = foreground(x, inside, cells)
            background = x.masked_fill(inside, SURE)
            costs = self._dice(found, background) if self.of == "dice" else self._focal(found, background)
            present = found.sizes > 0
            return (costs * present).sum() / self.divisor(present.sum(dtype=costs.dtype))

    def count_of_components(self, target: Tensor, cells: Tensor) -> Tensor:
        """Return the number of components."""
        return present_components(hard(target), cells).sum()

    def _dice(self, found: Foreground, background: Tensor) -> Tensor:
        both = found.sums(torch.exp(F.logsigmoid(found.logits)))  # the slope of a sigmoid near 1 is rounded to 0
        beside = pixel_sums(background, torch.zeros_like(background, dtype=torch.bool), gamma=None).predicted
        return 1 - (2 * both + self.smooth) / (both + beside.unsqueeze(-1) + found.sizes + self.smooth)

    def _focal(self, found: Foreground, background: Tensor) -> Tensor:
        on_components = found.sums(focal_of_margin(found.logits, self.gamma))
        sums = pixel_sums(background, torch.zeros_like(background, dtype=torch.bool), gamma=self.gamma)
        positive, negative = self.side_weights(sums.negative)
        pixels = background[0, 0].numel() - found.sizes.sum(-1, keepdim=True) + found.sizes
        weighed = positive * on_components.movedim(-1, 0) + negative * sums.negative
        return weighed.movedim(0, -1) / pixels.clamp(min=1)

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"of={self.of!r}, smooth={self.smooth}, gamma={self.gamma}, {self.alpha_repr()}"
