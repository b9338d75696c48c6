"""Sums over the components of a target and over their cells, for losses that count lesions instead of pixels.

A component is a connected piece of a mask, a lesion; its cell is the part of the map nearer to it than to any other
(`segfocal.component_cells`, made of each training sample). A loss gets the number of the cell of each pixel. Which
number a component has is of no meaning; 0 is what cells are where there is no component, and counts as a number like
any other.

Sums are taken by index, in float64: as many components as there may be cost one pass, and a sum over a million pixels
keeps its digits. Where a mask is hard its components are read at its own pixels alone, which are few.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.losses.input_checks import as_mask, computed


class CellSums(NamedTuple):
    """Sums over the cells of each map, [b,k,m]; differentiable in the logits where they depend on them.

    Args:
        both: Σ p·t.
        predicted: Σ p.
        target: Σ t, 0 in a cell whose component is not in the map.
        cross_entropy: Σ −t·log p − (1−t)·log(1−p); 0 unless asked for.
        pixels: of the cell.
    """

    both: Tensor
    predicted: Tensor
    target: Tensor
    cross_entropy: Tensor
    pixels: Tensor


class Foreground(NamedTuple):
    """The n pixels of a hard target of b·k maps: their logits [n], their components [n], and sizes [b,k,m] of these."""

    logits: Tensor
    component: Tensor
    sizes: Tensor

    def sums(self, values: Tensor) -> Tensor:
        """Return the sum [b,k,m] of values [n] over each component."""
        return _summed(values, self.component, self.sizes.numel()).view_as(self.sizes).to(values.dtype)


def check_cells(logits: Tensor, cells: Tensor | None, name: str, *, validate: bool = False) -> Tensor:
    """Return cells that fit the logits [b,k,*space]; raise ValueError for others, and for none.

    Args:
        logits: of the loss.
        cells: integers ≥ 0 of their shape.
        name: of the loss, for the message.
        validate: look for negative ones too, which synchronises a GPU.
    """
    if cells is None:
        raise ValueError(
            f"expected the cells of the target's components for {name}; got none: give them as third argument, from "
            "segfocal.component_cells, or train with a task that hands on batch.cells"
        )
    if cells.shape != logits.shape or cells.is_floating_point() or cells.dtype == torch.bool:
        raise ValueError(
            f"expected cells for {name}: integers of the logits' shape {list(logits.shape)}; got {cells.dtype} of "
            f"{list(cells.shape)}"
        )
    if validate and cells.numel() and int(cells.min()) < 0:
        raise ValueError(f"expected cells ≥ 0 for {name}; got {int(cells.min())}")
    return cells


def hard(target: Tensor) -> Tensor:
    """Return a target as bool; a soft one is inside from one half on."""
    return target >= 0.5 if target.is_floating_point() else as_mask(target)


def cell_sums(logits: Tensor, target: Tensor, cells: Tensor, *, cross_entropy: bool = False) -> CellSums:
    """Return the sums over each cell, in float32 (float64 stays).

    Args:
        logits: [b,k,*space], of any floating-point dtype.
        target: of that shape: bool or integer, or float in [0,1].
        cells: integers ≥ 0 of that shape.
        cross_entropy: take its sums too. False, because they take time.
    """
    index, shape = _index(cells)
    count = shape.numel()
    mask = as_mask(target).flatten()
    predicted, both, entropy = _Sums.apply(computed(logits).flatten(), mask, index, count, cross_entropy)
    soft = mask.is_floating_point()
    inside = _summed(mask, index, count) if soft else torch.bincount(index[mask], minlength=count)
    sums = both, predicted, inside, entropy, torch.bincount(index, minlength=count)
    return CellSums(*[one.to(predicted.dtype).view(shape) for one in sums])


def foreground(logits: Tensor, inside: Tensor, cells: Tensor) -> Foreground:
    """Return the pixels of a hard target, each with its component; this synchronises a GPU.

    Args:
        logits: [b,k,*space], float32 or float64.
        inside: bool of that shape.
        cells: integers ≥ 0 of that shape.
    """
    index, shape = _index(cells)
    mask = inside.flatten()
    component = index[mask]
    sizes = torch.bincount(component, minlength=shape.numel())
    return Foreground(logits.flatten()[mask], component, sizes.view(shape).to(logits.dtype))


def present_components(target: Tensor, cells: Tensor) -> Tensor:
    """Return which cells [b,k,m] of maps hold a pixel of the target, of which a soft one counts from above 0."""
    index, shape = _index(cells)
    return (torch.bincount(index[(as_mask(target) > 0).flatten()], minlength=shape.numel()) > 0).view(shape)


def _index(cells: Tensor) -> tuple[Tensor, torch.Size]:
    """Return the place of each pixel's cell among the cells of all maps, and their shape [b,k,m]; reads the largest."""
    b, k = cells.shape[:2]
    many = int(cells.max()) + 1
    first = torch.arange(b * k, device=cells.device).view(b, k, 1) * many
    return (cells.flatten(2) + first).flatten(), torch.Size((b, k, many))


def _summed(values: Tensor, index: Tensor, count: int) -> Tensor:
    """Return the sums [count] of values by index, in float64."""
    return torch.zeros(count, dtype=torch.float64, device=values.device).index_add(0, index, values.double())


class _Sums(torch.autograd.Function):
    """Σ p, Σ p·t and Σ CE by index; keeps nothing full-size but its inputs."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor, index: Tensor, count: int, cross_entropy: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(x, mask, index)
        ctx.cross_entropy = cross_entropy
        p, soft = torch.sigmoid(x), mask.is_floating_point()
        both = _summed(p * mask, index, count) if soft else _summed(p[mask], index[mask], count)
        entropy = _summed(_entropy(x, mask), index, count) if cross_entropy else torch.zeros_like(both)
        return _summed(p, index, count).to(x.dtype), both.to(x.dtype), entropy.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, mask, index = ctx.saved_tensors
        of_predicted, of_both, of_entropy = gradients
        p, not_p = torch.sigmoid(x), torch.sigmoid(-x)  # p·(1 − p) is no difference of rounded numbers
        slope = of_predicted[index]
        if mask.is_floating_point():
            slope = torch.addcmul(slope, of_both[index], mask.to(x.dtype))
        else:
            slope[mask] += of_both[index[mask]]
        slope *= p * not_p
        if ctx.cross_entropy:
            t = mask.to(x.dtype)
            slope = torch.addcmul(slope, of_entropy[index], p * (1 - t) - not_p * t)
        return slope, None, None, None, None


def _entropy(x: Tensor, mask: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel; of a hard one by its margin alone."""
    if not mask.is_floating_point():
        return -F.logsigmoid(torch.where(mask, x, -x))
    t = mask.to(x.dtype)
    return -t * F.logsigmoid(x) - (1 - t) * F.logsigmoid(-x)
