"""Focal loss whose positives weigh by the size of their component: small lesions more, large ones less.

    FL = −w_i α (1 − p)^γ log p  inside component i,   −(1 − α) p^γ log(1 − p)  outside
    w_i = |C_i|^−q · Σ_j |C_j| / Σ_j |C_j|^(1−q)                      over the components j of a structure in the batch

The weights are normalised: Σ_i w_i |C_i| = Σ_i |C_i|, so positives together weigh as much as without them. At q = 0 all
are one, and this is the plain focal loss; at q = 1 every component weighs the same in all.

Source: the focal loss is that of `focal.py`. Weights by the inverse of a lesion's size are those of Shirokikh et al.,
"Universal loss reweighting to balance lesion size inequality in 3D medical image segmentation", MICCAI 2020, where q is
1 and the background counts as one more component; here its weight is left as it is, so that α keeps its meaning.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segfocal.losses.blob import SURE
from segfocal.losses.class_weights import Alpha, AlphaTerm
from segfocal.losses.component_sums import check_cells, foreground, hard
from segfocal.losses.distributed import global_sum
from segfocal.losses.focal import focal_of_margin
from segfocal.losses.fused import pixel_sums
from segfocal.losses.input_checks import check_gamma, computed
from segfocal.losses.loss_schedules import NumberOrSchedule


class ComponentFocalLoss(AlphaTerm):
    """Focal loss of logits and a hard target `[b,k,*space]`, the positives weighed by the size of their component.

    Args:
        power: q in [0,2], by which small components weigh more; 0 is FocalLoss, 1 gives all components the same weight.
            1, by which small synthetic lesions were found most (docs/lesions.md).
        gamma: as in FocalLoss.
        alpha: as in FocalLoss.
        validate: check values too; False, because it synchronises a GPU more often.

    The mean is over all pixels, as in FocalLoss. A component that the crop cuts is as large as what is left of it. A
    map without a component costs what FocalLoss does. Ignored pixels, background beyond doubt in logits and target, add
    0 and are counted. A soft target is inside from one half on.

    Raises:
        ValueError: a power, gamma or alpha out of range; shapes that differ, integer logits, no pixels, an alpha for
            another number of channels; no cells, or others than integers of the logits' shape.
    """

    uses_components = True

    def __init__(
        self, power: float = 1.0, gamma: NumberOrSchedule = 2.0, alpha: Alpha = 0.25, validate: bool = False
    ) -> None:
        super().__init__(alpha, validate=validate)
        if not 0 <= power <= 2:
            raise ValueError(f"expected power in [0,2]; got {power}")
        self.power, self.gamma = float(power), self.follow("gamma", gamma, check_gamma)

    @property
    def spans_batch(self) -> bool:
        """Whether the weights are of the components of a whole batch: not at power 0, where all are one."""
        return self.power > 0

    def forward(self, logits: Tensor, target: Tensor, cells: Tensor | None = None) -> Tensor:
        """Return the scalar loss; cells: integers ≥ 0 of the logits' shape, the number of the component nearest."""
        self.check(logits, target)
        cells = check_cells(logits, cells, type(self).__name__, validate=self.validate)
        with torch.autocast(logits.device.type, enabled=False):
            x, inside = computed(logits), hard(target)
            found = foreground(x, inside, cells)
            weights = component_weights(found.sizes, self.power)
            on_positives = (weights * found.sums(focal_of_margin(found.logits, self.gamma))).sum(-1)
            background = x.masked_fill(inside, SURE)
            sums = pixel_sums(background, torch.zeros_like(inside), gamma=self.gamma)
            positive, negative = self.side_weights(sums.negative)
            return (positive * on_positives + negative * sums.negative).sum() / x.numel()

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"power={self.power}, gamma={self.gamma}, {self.alpha_repr()}"


def component_weights(sizes: Tensor, power: float) -> Tensor:
    """Return the weight [b,k,m] of each component of so many pixels, whose mean over the pixels of a structure is one.

    Over several processes the components are those of all.

    Args:
        sizes: [b,k,m], 0 where there is no component; these get the weight 0.
        power: q ≥ 0.
    """
    there = sizes > 0
    raw = torch.where(there, sizes.clamp(min=1) ** -power, 0.0)
    pixels, weighed = (global_sum(one.sum((0, 2))) for one in (sizes, raw * sizes))
    return raw * (pixels / weighed.clamp(min=torch.finfo(sizes.dtype).tiny)).unsqueeze(-1)
