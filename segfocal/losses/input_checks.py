"""Checks of logits, targets and options that every loss makes, and the dtype its arithmetic runs in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.losses.distributed import parts


def check_pair(logits: Tensor, target: Tensor, *, validate: bool = False) -> None:
    """Raise ValueError unless both tensors have one shape with pixels in it, and logits are floating point.

    validate: also look for soft targets outside [0,1] and logits that are not finite, which synchronises a GPU.
    """
    if logits.shape != target.shape or logits.ndim < 2:
        raise ValueError(
            f"expected logits and target of one shape [b,k,*space]; got {list(logits.shape)} and "
            f"{list(target.shape)}: reshape the target, for one class to [b,1,h,w]"
        )
    _check_logits(logits, validate=validate)
    if validate and target.is_floating_point() and not ((target >= 0) & (target <= 1)).all():
        wrong = target[~((target >= 0) & (target <= 1))][0].item()
        raise ValueError(
            f"expected soft targets in [0,1]; got {wrong:g}: divide masks of 0 and 255 by 255, or make them integer"
        )


def check_classes(logits: Tensor, target: Tensor, *, ignore_index: int | None = None, validate: bool = False) -> None:
    """Raise ValueError unless `target` [b,*space] holds class indices that fit logits [b,c,*space].

    Args:
        logits: the network's raw output, c ≥ 2.
        target: integer class indices, the background 0.
        ignore_index: an index that may stand outside 0 to c − 1; None for none.
        validate: also look for indices out of range and logits that are not finite; False, because it synchronises a
            GPU.
    """
    if logits.ndim < 2 or target.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"expected logits [b,c,*space] and class indices [b,*space]; got {list(logits.shape)} and "
            f"{list(target.shape)}: put the class axis second and take it off the target"
        )
    if target.is_floating_point() or target.dtype == torch.bool:
        raise ValueError(f"expected integer class indices; got {target.dtype}: convert them with .long()")
    _check_logits(logits, validate=validate)
    if logits.shape[1] < 2:
        raise ValueError(
            f"expected at least two classes; got logits of shape {list(logits.shape)}: for one class use the loss on "
            "sigmoid logits"
        )
    if validate:
        index = target.long()  # a uint8 would compare −100 as 156
        wrong = (index < 0) | (index >= logits.shape[1])
        wrong &= index != ignore_index if ignore_index is not None else True
        if wrong.any():
            raise ValueError(
                f"expected class indices 0 to {logits.shape[1] - 1}; got {int(index[wrong][0])}: set ignore_index, or "
                "give the network more classes"
            )


def _check_logits(logits: Tensor, *, validate: bool) -> None:
    if not logits.is_floating_point():
        raise ValueError(f"expected floating-point logits; got {logits.dtype}: pass the network's raw output")
    if logits.numel() == 0:
        raise ValueError(f"expected at least one pixel; got logits of shape {list(logits.shape)}: skip empty batches")
    if validate and not torch.isfinite(logits).all():
        raise ValueError(
            f"expected finite logits; got {int((~torch.isfinite(logits)).sum())} of {logits.numel()} that are not: "
            "look at the network's input, lower the learning rate"
        )


def check_probability(probability: Tensor, *, validate: bool) -> None:
    """Raise ValueError, with validate, unless all values lie in [0,1]."""
    if validate and not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(
            f"expected probabilities in [0,1]; got {probability.min():g} to {probability.max():g}: for raw logits use "
            "the loss on logits"
        )


def check_gamma(gamma: float) -> None:
    """Raise ValueError unless the focusing exponent is ≥ 0."""
    if not 0 <= gamma < math.inf:
        raise ValueError(f"expected gamma ≥ 0; got {gamma}")


def check_reduction(reduction: str, allowed: Sequence[str] = ("mean", "sum", "none")) -> None:
    """Raise ValueError unless `reduction` is one of those allowed."""
    if reduction not in allowed:
        raise ValueError(f"expected reduction {', '.join(allowed[:-1])} or {allowed[-1]}; got {reduction!r}")


def as_mask(target: Tensor) -> Tensor:
    """Return an integer target as bool, non-zero inside (so 0/255 masks mean what they show); others as they are."""
    return target if target.is_floating_point() or target.dtype == torch.bool else target != 0


def computed(logits: Tensor) -> Tensor:
    """Return logits in the dtype of the arithmetic: float64 stays, every other dtype becomes float32."""
    return logits if logits.dtype == torch.float64 else logits.float()


def reduced(losses: Tensor, reduction: str, *, count: Tensor | int | float) -> Tensor:
    """Return a loss map as it is ("none"), summed ("sum"), or summed and divided by `count` ("mean").

    A sum is multiplied by the number of parts of a step, whose mean is what training takes.
    """
    if reduction == "none":
        return losses
    return losses.sum() * parts() if reduction == "sum" else losses.sum() / count


def one_hot(index: Tensor, classes: int) -> Tensor:
    """Return class indices [b,*space] as a bool tensor [b,c,*space]."""
    numbers = torch.arange(classes, device=index.device).reshape(-1, *[1] * (index.ndim - 1))
    return index.unsqueeze(1) == numbers
