"""Multi-class focal loss on softmax logits.

    FL(p_t) = −α_t (1 − p_t)^γ log p_t,   p = softmax(x),  p_t the probability of a pixel's true class t

With the margin m = x_t − log Σ_{j≠t} exp(x_j) of the true class over all others together, p_t = sigmoid(m). The loss is
the binary one of m, shares its arithmetic, and is as finite: no 1 − p_t is ever formed from a rounded p_t.

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5, with softmax in place of sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from segfocal.losses.focal import focal_of_margin
from segfocal.losses.inputs import computed, reduced

SoftmaxReduction = Literal["mean", "sum", "none"]


class SoftmaxFocalLoss(nn.Module):
    """Focal loss of logits `[b,c,*space]` (any number of spatial axes) against class indices `[b,*space]`.

    Args:
        gamma: focusing exponent, ≥ 0; 0 without alpha is `torch.nn.functional.cross_entropy`.
        alpha: a weight ≥ 0 for each class, [c], or None for ones; `inverse_frequency` makes one from pixel counts.
        ignore_index: class index of pixels that count neither in the sum nor in the mean; None for none.
        reduction: "mean" over the valid pixels (0 where there are none), "sum", or "none" (a map `[b,*space]`, 0 where
            ignored). Unlike torch's weighted cross-entropy the mean does not divide by the sum of the weights.
        validate: check that indices are in range, which synchronises a GPU.

    Raises:
        ValueError: gamma < 0, a negative or empty alpha, unknown reduction; shapes that do not fit, integer logits, a
            target that is not integer, alpha of another length than c; with validate, an index out of range.
    """

    alpha: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: Sequence[float] | Tensor | None = None,
        ignore_index: int | None = None,
        reduction: SoftmaxReduction = "mean",
        validate: bool = False,
    ) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"expected gamma ≥ 0; got {gamma}")
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"expected reduction mean, sum or none; got {reduction!r}")
        weights = None if alpha is None else torch.as_tensor(alpha, dtype=torch.float64)
        if weights is not None and (weights.ndim != 1 or not len(weights) or not (weights >= 0).all()):
            raise ValueError(f"expected one alpha ≥ 0 for each class; got {alpha}")
        self.register_buffer("alpha", weights)
        self.gamma, self.ignore_index, self.reduction, self.validate = float(gamma), ignore_index, reduction, validate

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar, or a map `[b,*space]` with reduction "none"."""
        self._check(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            valid = (
                torch.ones_like(target, dtype=torch.bool) if self.ignore_index is None else target != self.ignore_index
            )
            index = torch.where(valid, target, 0).long()
            losses = focal_of_margin(margin(computed(logits), index), self.gamma)
            if self.alpha is not None:
                losses = losses * self.alpha.to(losses.dtype)[index]
            losses = torch.where(valid, losses, 0.0)
            return reduced(losses, self.reduction, count=valid.sum().clamp(min=1))

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"gamma={self.gamma}, ignore_index={self.ignore_index}, reduction={self.reduction!r}"

    def _check(self, logits: Tensor, target: Tensor) -> None:
        if logits.ndim < 2 or target.shape != logits.shape[:1] + logits.shape[2:]:
            raise ValueError(
                f"expected logits [b,c,*space] and class indices [b,*space]; got {list(logits.shape)} and "
                f"{list(target.shape)}: put the class axis second and take it off the target"
            )
        if not logits.is_floating_point() or target.is_floating_point() or target.dtype == torch.bool:
            raise ValueError(
                f"expected floating-point logits and integer class indices; got {logits.dtype} and {target.dtype}"
            )
        if logits.numel() == 0 or logits.shape[1] < 2:
            raise ValueError(
                f"expected at least one pixel and two classes; got logits of shape {list(logits.shape)}: for one class "
                "use FocalLoss"
            )
        if self.alpha is not None and len(self.alpha) != logits.shape[1]:
            raise ValueError(f"expected an alpha for each of {logits.shape[1]} classes; got {len(self.alpha)}")
        if self.validate:
            classes = logits.shape[1]
            wrong = (target < 0) | (target >= classes)
            wrong &= target != self.ignore_index if self.ignore_index is not None else True
            if wrong.any():
                value = int(target[wrong][0])
                raise ValueError(
                    f"expected class indices 0 to {classes - 1}; got {value}: set ignore_index, or classes"
                )


def margin(logits: Tensor, index: Tensor) -> Tensor:
    """Return x_t − log Σ_{j≠t} exp(x_j) of logits [b,c,*space] for true classes [b,*space], c ≥ 2."""
    at = index.unsqueeze(1)
    others = logits.scatter(1, at, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, at).squeeze(1) - others


def inverse_frequency(pixels: Sequence[float]) -> list[float]:
    """Return a weight for each class, inversely proportional to its pixel count, with mean one.

    Raises:
        ValueError: no class, or one that has no pixel.
    """
    counts = torch.as_tensor(pixels, dtype=torch.float64)
    if not len(counts) or not (counts > 0).all():
        raise ValueError(f"expected a pixel count > 0 for each class; got {list(pixels)}")
    weights = 1 / counts
    return (weights / weights.mean()).tolist()
