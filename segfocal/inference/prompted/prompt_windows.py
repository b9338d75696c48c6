"""Windows of one slice around a box: where they stand, what they see, and how their answers come together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from segfocal.inference.sliding.windows import plan_axis

OUTSIDE = -20.0  # the logit of pixels nobody asked about


class Look(NamedTuple):
    """One window at one slice: top left corner (may lie outside), the box inside it, and its weights [side,side].

    k: which structure the box is of.
    """

    k: int
    z: int
    top: int
    left: int
    box: Tensor
    weights: Tensor


def looks_at(
    k: int, z: int, box: Tensor, size: Sequence[int], side: int, *, around: Tensor | None = None
) -> list[Look]:
    """Return the windows of `side` pixels that see a box [4] in a slice of `size` (h, w); none for a box of NaN.

    One window centred on the box, as far as the slice's border lets it, or overlapping ones where the box is larger.
    around: centre them on this box [4] instead, which holds the other.
    """
    if not torch.isfinite(box).all():
        return []
    x0, y0, x1, y1 = (box if around is None else around).tolist()
    rows, row_weights = _starts(y0, y1, size[0], side)
    columns, column_weights = _starts(x0, x1, size[1], side)
    looks: list[Look] = []
    for (i, top), (j, left) in itertools.product(enumerate(rows), enumerate(columns)):
        shift = torch.tensor([left, top, left, top], dtype=torch.float32)
        inside = (box - shift).clamp(0, side)
        if inside[2] > inside[0] and inside[3] > inside[1]:
            weights = row_weights[i][:, None] * column_weights[j]
            looks.append(Look(k, z, top, left, inside, weights))
    return looks


def _starts(low: float, high: float, size: int, side: int) -> tuple[list[int], Tensor]:
    """Return where windows begin along one axis so that they cover low…high, and their weights [windows, side]."""
    extent = max(side, int(np.ceil(high)) - int(np.floor(low)))
    begin = round((low + high - extent) / 2)
    begin = min(max(begin, 0), size - extent) if size >= extent else -((extent - size) // 2)
    axis = plan_axis(extent, side)
    return [begin + start for start in axis.starts], axis.weights


def overlap(look: Look, size: Sequence[int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part of the slice that a window sees, in the slice's pixels and in the window's."""
    side = look.weights.shape
    outer = [slice(max(0, b), min(n, b + s)) for b, n, s in zip((look.top, look.left), size, side, strict=True)]
    inner = [slice(o.start - b, o.stop - b) for o, b in zip(outer, (look.top, look.left), strict=True)]
    return (outer[0], outer[1]), (inner[0], inner[1])


def crop(slice_image: Tensor, look: Look, *, fill: float = 0.0) -> Tensor:
    """Return what a window sees [c,side,side] of a slice [c,h,w], `fill` beyond its border."""
    seen = slice_image.new_full((slice_image.shape[0], *look.weights.shape), fill)
    outer, inner = overlap(look, slice_image.shape[1:])
    seen[(slice(None), *inner)] = slice_image[(slice(None), *outer)]
    return seen


def paste(canvas: Tensor, look: Look, answer: Tensor) -> None:
    """Add a window's logits [side,side] to a slice [h,w] that is OUTSIDE where no window was pasted yet."""
    outer, inner = overlap(look, canvas.shape)
    # Weights sum to one inside the windows, so what each adds is measured from the background's logit.
    canvas[outer] += (answer[inner] - OUTSIDE) * look.weights[inner]
