"""One pass forward and one backward over the pixels, for every loss that is made of the same four sums.

Focal needs Σ FL; Dice, IoU and Tversky need Σ p·t, Σ p and Σ t. `pixel_sums` takes all four together and saves nothing
full-size but its inputs: the backward pass computes what it needs again, which costs less than reading it would. Both
passes are pure elementwise functions with a sum at the end, which torch.compile turns into one loop each.

With s = x where the target is 1 and −x where it is 0, p_t = sigmoid(s):

    FL = α_t · exp(−γ·softplus(s)) · softplus(−s)
    dFL/ds = −α_t · exp(−γ·softplus(s)) · (γ·p_t·softplus(−s) + 1 − p_t)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segfocal.losses.inputs import computed


class PixelSums(NamedTuple):
    """Sums over the pixels of each sample and class, [b,k]: focal loss, p·t, p and t."""

    focal: Tensor
    both: Tensor
    predicted: Tensor
    target: Tensor


def pixel_sums(
    logits: Tensor, target: Tensor, *, gamma: float, alpha: float | None, compiled: bool = False
) -> PixelSums:
    """Return the four sums of logits `[b,k,*space]` against a bool or integer target (non-zero inside) of that shape.

    In float32 (float64 stays), differentiable in the logits. compiled: run both passes through torch.compile; ask
    `compiles` first.
    """
    weights = (1.0, 1.0) if alpha is None else (float(alpha), 1.0 - alpha)
    flat = logits.flatten(2) if logits.ndim > 2 else logits.unsqueeze(2)
    truth = target.flatten(2) if target.ndim > 2 else target.unsqueeze(2)
    return PixelSums(*_Sums.apply(flat, truth, float(gamma), *weights, compiled))


class _Sums(torch.autograd.Function):
    """Σ FL, Σ p·t, Σ p and Σ t over the last axis of [b,k,n]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: Tensor, gamma: float, positive: float, negative: float, compiled: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ctx.save_for_backward(x, target)
        ctx.options = gamma, positive, negative
        ctx.compiled = compiled
        sums = _pick(_forward, compiled)(x, target, gamma, positive, negative)
        ctx.mark_non_differentiable(sums[3])
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        x, target = ctx.saved_tensors
        gradient = _pick(_backward, ctx.compiled)(x, target, *ctx.options, *gradients[:3])
        return gradient, None, None, None, None, None


# Both passes multiply by the target as a number rather than select by it: that is what vectorises on a CPU.


def _forward(
    x: Tensor, target: Tensor, gamma: float, positive: float, negative: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = computed(x)
    t = (target != 0).to(x.dtype)
    s = x * (2 * t - 1)
    small, shared = _exponentials(x)
    near = 1 / (1 + small)
    p = torch.where(x >= 0, near, small * near)
    focal = torch.exp(-gamma * (s.clamp(min=0) + shared)) * ((-s).clamp(min=0) + shared)
    focal = focal * (negative + (positive - negative) * t)
    return focal.sum(2), (p * t).sum(2), p.sum(2), t.sum(2)


def _backward(
    x: Tensor,
    target: Tensor,
    gamma: float,
    positive: float,
    negative: float,
    of_focal: Tensor,
    of_both: Tensor,
    of_predicted: Tensor,
) -> Tensor:
    dtype, x = x.dtype, computed(x)
    t = (target != 0).to(x.dtype)
    sign = 2 * t - 1
    s = x * sign
    small, shared = _exponentials(x)
    near = 1 / (1 + small)
    far = small * near  # near and far are the larger and the smaller of p and 1 − p, neither by subtraction
    p_t, not_p_t = torch.where(s >= 0, near, far), torch.where(s >= 0, far, near)
    modulating = torch.exp(-gamma * (s.clamp(min=0) + shared))
    slope = -modulating * (gamma * p_t * ((-s).clamp(min=0) + shared) + not_p_t)
    slope = slope * sign * (negative + (positive - negative) * t)
    overlap = (of_predicted.unsqueeze(2) + t * of_both.unsqueeze(2)) * (near * far)
    return (of_focal.unsqueeze(2) * slope + overlap).to(dtype)


def _exponentials(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return exp(−|x|) and log(1 + exp(−|x|)): all the transcendental work a pixel needs."""
    small = torch.exp(-x.abs())
    return small, torch.log1p(small)


@cache
def compiles(device_type: str) -> bool:
    """Return whether torch.compile works for both passes on this kind of device; where not, warn once."""
    x = torch.zeros(1, 1, 2, device=device_type)
    ones = torch.ones(1, 1, device=device_type)
    try:
        _compiled(_forward)(x, x > 0, 2.0, 1.0, 1.0)
        _compiled(_backward)(x, x > 0, 2.0, 1.0, 1.0, ones, ones, ones)
    except Exception as error:  # the compiler's errors share no base class with each other
        warnings.warn(
            f"losses run uncompiled on {device_type}: {type(error).__name__} from torch.compile; loss.compile=false "
            "silences this",
            stacklevel=2,
        )
        return False
    return True


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function)


def _pick(function: Callable[..., Any], compiled: bool) -> Callable[..., Any]:
    return _compiled(function) if compiled else function
