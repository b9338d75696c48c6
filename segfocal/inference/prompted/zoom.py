"""How much of a slice a model sees: windows in proportion to the prompt, grown while the mask meets their border.

A window of `side` pixels of the slice is resized to the model's own pixels, and its answer back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.inference.prompted.prompt_windows import PromptWindow, crop, seen_part
from segfocal.models import PromptableModel

BOX_SIDES = 4.0  # of a window, for models that saw targets of every size
LARGEST = 8.0  # magnification
_STEP = math.sqrt(2.0)  # between sides, so that boxes of like sizes see like windows
GROWTH = 1.5  # of a side whose window the mask fills


def zoom_of(model: PromptableModel, zoom: float | str | None) -> float | None:
    """Return how many box sides a window has, None for the model's own pixels; "auto" is for the model to say."""
    if isinstance(zoom, str):
        return BOX_SIDES if model.knows_scales else None
    return zoom


def side_for(region: Tensor, zoom: float | None, *, own: int, size: Sequence[int]) -> int:
    """Return the side of a window about a region [4], in pixels of a slice of `size` (h, w).

    Args:
        region: a box; of NaN it has the model's own side.
        zoom: sides of the region that a window has; None gives the model's own side.
        own: the model's side in pixels.
        size: of the slice.
    """
    if zoom is None or not torch.isfinite(region).all():
        return own
    wanted = zoom * float((region[2:] - region[:2]).max())
    steps = math.ceil(math.log(max(wanted, own / LARGEST) / own, _STEP) - 1e-9)
    return max(1, min(round(own * _STEP**steps), max(size)))


def grown(side: int, size: Sequence[int]) -> int:
    """Return the next larger side; that of the whole slice is the largest."""
    return max(side, min(math.ceil(side * GROWTH), max(size)))


def meets_border(mask: Tensor, windows: Sequence[PromptWindow]) -> bool:
    """Return whether a mask [h,w] reaches the border of what windows see together, where the slice goes on."""
    size = mask.shape
    parts = [seen_part(window, size)[0] for window in windows]
    for axis in (0, 1):
        low, high = min(part[axis].start for part in parts), max(part[axis].stop for part in parts)
        lines = mask if axis == 0 else mask.T
        if (low > 0 and lines[low].any()) or (high < size[axis] and lines[high - 1].any()):
            return True
    return False


def seen(slice_image: Tensor, windows: Sequence[PromptWindow], own: int) -> Tensor:
    """Return what windows see of a slice [c,h,w] in the model's pixels [n,c,own,own]."""
    return torch.stack([resized(crop(slice_image, window), own) for window in windows])


def seen_lines(drawn: Tensor, windows: Sequence[PromptWindow], own: int) -> Tensor:
    """Return what windows see of lines [c,h,w] in {0,1}, none of which is lost where the window shrinks."""
    parts = [crop(drawn, window) for window in windows]
    return torch.stack(
        [
            F.adaptive_max_pool2d(part, own) if part.shape[-1] > own else (resized(part, own) > 0.25).float()
            for part in parts
        ]
    )


def resized(image: Tensor, side: int) -> Tensor:
    """Return an image [c,·,·] of `side` pixels a side: bilinear, and low-pass filtered where it shrinks."""
    if image.shape[-1] == side:
        return image
    return F.interpolate(image[None], size=(side, side), mode="bilinear", antialias=side < image.shape[-1])[0]
