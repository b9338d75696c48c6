"""Scribbles and lassos as a user might draw them about a target, by uniform numbers in [0,1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from segfocal.connected_components import components
from segfocal.distance_transform import edt
from segfocal.prompts.clicks import clicks_in
from segfocal.prompts.regions import depth_of

SCRIBBLE_DRAWS = 4  # numbers that a scribble takes: which kind, and three points
_WAVES = 4  # knots a side of the field by which an outline strays
LASSO_DRAWS = 1 + _WAVES * _WAVES
_WIDEST = 12.0  # pixels from a target to its lasso
_SLACK = 0.25  # or this share of the side of a square as large


def scribbles_in(region: Tensor, uniforms: Tensor) -> Tensor:
    """Return a line [n,h,w] in {0,1} in each region [n,h,w] (bool), by uniforms [n,SCRIBBLE_DRAWS].

    An empty region has none; of volumes [n,d,h,w] it lies in the slice where a region is largest. One half are its
    middle line, computed on the CPU; the others a curve from one random pixel of it to another, bent towards a third,
    as far as it lies in the region.
    """
    if region.ndim == 4:
        return _in_largest_slice(partial(scribbles_in, uniforms=uniforms), region)
    curved = uniforms[:, 0] < 0.5
    lines = _curves(region, uniforms[:, 1:]) & region
    straight = (~curved).nonzero()[:, 0]
    if len(straight):
        lines[straight] = _middle_lines(region[straight])
    return lines.float()


def _in_largest_slice(draw: Callable[[Tensor], Tensor], region: Tensor) -> Tensor:
    """Return volumes [n,d,h,w] of what is drawn for the largest slice [n,h,w] of each region [n,d,h,w]."""
    rows, largest = torch.arange(len(region), device=region.device), region.flatten(2).sum(2).argmax(1)
    drawn = torch.zeros(region.shape, device=region.device)
    drawn[rows, largest] = draw(region[rows, largest])
    return drawn


def _curves(region: Tensor, uniforms: Tensor) -> Tensor:
    """Return the pixels [n,h,w] of parabolas (Bézier curves of second degree) by three pixels of each region."""
    n, h, w = region.shape
    (start, bend, stop), found = clicks_in(region, uniforms)[0].unbind(1), region.flatten(1).any(1)
    t = torch.linspace(0, 1, 2 * (h + w), device=region.device)[:, None]
    xy = (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * bend[:, None] + t**2 * stop[:, None]
    x, y = xy.round().long().unbind(-1)
    drawn = torch.zeros(n, h * w, dtype=torch.bool, device=region.device)
    drawn.scatter_(1, y * w + x, found[:, None].expand_as(x))
    return drawn.unflatten(1, (h, w))


def _middle_lines(region: Tensor) -> Tensor:
    """Return the pixels of each region that lie deepest across or along, and at least half as deep as the deepest."""
    depth = depth_of(region)[:, None]
    ridge = _peaks(depth, (1, 3)) | _peaks(depth, (3, 1))
    return (ridge & (2 * depth >= depth.amax((2, 3), keepdim=True)))[:, 0]


def _peaks(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the pixels that are as deep as any beside them along one axis, and deeper than one of them."""
    padding = (size[0] // 2, size[1] // 2)
    least = -F.max_pool2d(-depth, size, stride=1, padding=padding)
    return (depth >= F.max_pool2d(depth, size, stride=1, padding=padding)) & (depth > least)


def lassos_around(region: Tensor, uniforms: Tensor) -> Tensor:
    """Return the area [n,h,w] in {0,1} within an outline around each region [n,h,w] (bool), by [n,LASSO_DRAWS] numbers.

    The outline keeps at a distance that strays: from one pixel to a quarter of the side of a square as large as the
    region, at most 12. An empty region has none; of volumes it lies in the slice where a region is largest. Computed on
    the CPU.
    """
    if region.ndim == 4:
        return _in_largest_slice(partial(lassos_around, uniforms=uniforms), region)
    field = uniforms[:, 1:].reshape(-1, 1, _WAVES, _WAVES)
    strays = F.interpolate(field, size=region.shape[1:], mode="bicubic", align_corners=True)[:, 0].cpu().numpy()
    areas = [
        _lasso(one, float(slack), stray)
        for one, slack, stray in zip(region.cpu().numpy(), uniforms[:, 0].tolist(), strays, strict=True)
    ]
    return torch.from_numpy(np.stack(areas)).to(region.device, torch.float32)


def _lasso(inside: NDArray[np.bool_], slack: float, stray: NDArray[np.float32]) -> NDArray[np.bool_]:
    if not inside.any():
        return inside
    reach = slack * min(_WIDEST, _SLACK * float(np.sqrt(inside.sum())))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(edt(~inside) <= 1 + reach * np.clip(stray, 0, 1))
    return filled


def component_at(mask: Tensor, points_xy: Tensor) -> Tensor:
    """Return of each mask [n,h,w] (bool) the connected component [n,h,w] that holds a pixel xy [n,2]; or of volumes.

    It is empty where the pixel is not in the mask. Computed on the CPU.
    """
    chosen = np.zeros(mask.shape, dtype=bool)
    for out, one, place in zip(chosen, mask.cpu().numpy(), points_xy.flip(1).long().tolist(), strict=True):
        if one[tuple(place)]:
            numbers = components(one).numbers
            out[:] = numbers == numbers[tuple(place)]
    return torch.from_numpy(chosen).to(mask.device)
