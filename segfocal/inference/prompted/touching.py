"""What of an answer belongs to its prompt: the connected components that touch a region, such as a drawn box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from segfocal.connected_components import components
from segfocal.inference.prompted.prompt_windows import OUTSIDE


def touching(inside: Tensor, region: Tensor) -> Tensor:
    """Return the components of a mask [h,w] that have a pixel in a region [h,w]."""
    numbers = components(inside.numpy()).numbers
    kept = np.unique(numbers[(region & inside).numpy()])
    return torch.from_numpy(np.isin(numbers, kept[kept > 0]))


def near_box(logits: Tensor, box: Tensor, points_xy: Sequence[tuple[float, float]] = ()) -> Tensor:
    """Return logits [h,w] without the components that touch neither a box [4] nor a point inside the structure."""
    inside = logits > 0
    region = torch.zeros_like(inside)
    x0, y0 = box[:2].floor().clamp(min=0).int().tolist()
    x1, y1 = box[2:].ceil().int().tolist()
    region[y0:y1, x0:x1] = True
    h, w = region.shape
    for x, y in points_xy:
        region[min(max(round(y), 0), h - 1), min(max(round(x), 0), w - 1)] = True
    if not (inside & ~region).any():
        return logits
    return torch.where(touching(inside, region) | ~inside, logits, OUTSIDE)
