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


class PromptWindow(NamedTuple):
    """One window at one slice, and the box in it.

    Args:
        k: which structure the box is of.
        z: the slice.
        top: of its corner, in the slice's pixels; may lie outside the slice.
        left: of its corner too.
        box: x0 y0 x1 y1 [4] in the window's pixels.
        weights: [side,side], by which it counts where windows overlap.
    """

    k: int
    z: int
    top: int
    left: int
    box: Tensor
    weights: Tensor


def windows_around(
    k: int, z: int, box: Tensor, size: Sequence[int], side: int, *, around: Tensor | None = None
) -> list[PromptWindow]:
    """Return the windows of `side` pixels that see a box [4] in a slice of `size` (h, w); none for a box of NaN.

    One window centred on the box, as far as the slice's border lets it, or overlapping ones where the box is larger.

    Args:
        k: which structure the box is of.
        z: the slice.
        box: x0 y0 x1 y1 [4] in pixels of the slice.
        size: of the slice, (h, w).
        side: of a window, in pixels.
        around: a box [4] that holds the other, on which they are centred instead.
    """
    if not torch.isfinite(box).all():
        return []
    x0, y0, x1, y1 = (box if around is None else around).tolist()
    rows, row_weights = _starts(y0, y1, size[0], side)
    columns, column_weights = _starts(x0, x1, size[1], side)
    windows: list[PromptWindow] = []
    for (i, top), (j, left) in itertools.product(enumerate(rows), enumerate(columns)):
        shift = torch.tensor([left, top, left, top], dtype=torch.float32)
        inside = (box - shift).clamp(0, side)
        if inside[2] > inside[0] and inside[3] > inside[1]:
            weights = row_weights[i][:, None] * column_weights[j]
            windows.append(PromptWindow(k, z, top, left, inside, weights))
    return windows


def _starts(low: float, high: float, size: int, side: int) -> tuple[list[int], Tensor]:
    """Return where windows begin along one axis so that they cover low…high, and their weights [windows, side]."""
    extent = max(side, int(np.ceil(high)) - int(np.floor(low)))
    begin = round((low + high - extent) / 2)
    begin = min(max(begin, 0), size - extent) if size >= extent else -((extent - size) // 2)
    axis = plan_axis(extent, side)
    return [begin + start for start in axis.starts], axis.weights


def seen_part(window: PromptWindow, size: Sequence[int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part of the slice that a window sees, in the slice's pixels and in the window's."""
    side = window.weights.shape
    outer = [slice(max(0, b), min(n, b + s)) for b, n, s in zip((window.top, window.left), size, side, strict=True)]
    inner = [slice(o.start - b, o.stop - b) for o, b in zip(outer, (window.top, window.left), strict=True)]
    return (outer[0], outer[1]), (inner[0], inner[1])


def crop(slice_image: Tensor, window: PromptWindow, *, fill: float = 0.0) -> Tensor:
    """Return what a window sees [c,side,side] of a slice [c,h,w], `fill` beyond its border."""
    seen = slice_image.new_full((slice_image.shape[0], *window.weights.shape), fill)
    outer, inner = seen_part(window, slice_image.shape[1:])
    seen[(slice(None), *inner)] = slice_image[(slice(None), *outer)]
    return seen


def paste(canvas: Tensor, window: PromptWindow, answer: Tensor) -> None:
    """Add a window's logits [side,side] to a slice [h,w] that is OUTSIDE where no window was pasted yet."""
    outer, inner = seen_part(window, canvas.shape)
    # Weights sum to one inside the windows, so what each adds is measured from the background's logit.
    canvas[outer] += (answer[inner] - OUTSIDE) * window.weights[inner]
