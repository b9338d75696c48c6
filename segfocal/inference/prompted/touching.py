"""What of an answer belongs to its prompt: what is near a box, and the components that a mark touches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from segfocal.connected_components import components
from segfocal.inference.prompted.prompt_windows import OUTSIDE

MARGIN_PIXELS, MARGIN_SHARE = 2.0, 0.1  # of a box side, whichever is more


def touching(inside: Tensor, region: Tensor) -> Tensor:
    """Return the components of a mask [h,w] or [d,h,w] that have a pixel in a region of its shape."""
    numbers = components(inside.numpy()).numbers
    kept = np.unique(numbers[(region & inside).numpy()])
    return torch.from_numpy(np.isin(numbers, kept[kept > 0]))


def near_box(logits: Tensor, box: Tensor, marked: Tensor | None = None) -> Tensor:
    """Return logits [h,w] of which nothing is inside farther from a box [4] than its margin (`margins`).

    Of the rest the components stay that touch the box or a mark inside the structure. A mark farther from the box than
    the margin asks for more: the component that it lies in stays whole.

    Args:
        logits: of a slice.
        box: x0 y0 x1 y1 in its pixels.
        marked: [h,w] bool, the pixels of marks inside; None without any.
    """
    inside = logits > 0
    near, region = _pixels_of(box, logits, margin=margins(box)), _pixels_of(box, logits)
    if not (inside & ~region).any():
        return logits
    kept = touching(inside & near, region if marked is None else region | marked)
    if marked is not None and (marked & ~near).any():
        kept |= touching(inside, marked & ~near)
    return torch.where(kept | ~inside, logits, OUTSIDE)


def margins(box: Tensor) -> Tensor:
    """Return how far [2] an answer may reach beyond its box [4], along x and y: what boxes are off by in training."""
    return ((box[2:] - box[:2]) * MARGIN_SHARE).clamp(min=MARGIN_PIXELS)


def _pixels_of(box: Tensor, like: Tensor, margin: Tensor | None = None) -> Tensor:
    """Return the pixels [h,w] (bool) that a box reaches into, or whose middle lies no farther from it than a margin."""
    low, high = (box[:2].floor(), box[2:].ceil()) if margin is None else (box[:2] - margin, box[2:] + margin)
    rows, columns = (torch.arange(size) + 0.5 for size in like.shape)
    across, along = (columns >= low[0]) & (columns <= high[0]), (rows >= low[1]) & (rows <= high[1])
    return along[:, None] & across


def changed_about(before: Tensor, after: Tensor, about: Tensor) -> Tensor:
    """Return the logits [h,w] or [d,h,w] of an answer after a mark; it changes the components alone that it is about.

    These are the components of both answers together that the mark touches. All others stay as they were before.

    Args:
        before: the answer without the mark.
        after: the answer with it.
        about: bool, the mark's pixels.
    """
    either = (before > 0) | (after > 0)
    return torch.where(either & ~touching(either, about), before, after)
