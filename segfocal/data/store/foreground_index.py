"""Where the foreground of a prepared case is: the box of the body, and the slices and voxels of each structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segfocal.data.label_scheme import LabelScheme
from segfocal.intensity import body_box

_MOST_LOCATIONS = 1000  # kept of a structure
_MARGIN = (1, 8, 8)  # slices, rows, columns around the body


def cropped(
    image: NDArray[np.float32], target: NDArray[np.unsignedinteger]
) -> tuple[NDArray[np.float32], NDArray[np.unsignedinteger], tuple[int, int, int]]:
    """Return image [d,h,w] or [d,c,h,w] and target [d,h,w] inside the box of the body, and where that begins.

    No labelled pixel is cut off. A target of single masks [n,h,w] has no slices to drop.
    """
    by_object = len(target) != len(image)
    labelled = target.any(0, keepdims=True) if by_object else target != 0
    seen = image if image.ndim == 3 else image.max(1)
    box = body_box(np.maximum(seen, labelled), margin=_MARGIN)
    inside = target[:, box[1], box[2]] if by_object else target[box]
    return image[box[0], ..., box[1], box[2]], inside, (box[0].start, box[1].start, box[2].start)


def index(
    target: NDArray[np.unsignedinteger], scheme: LabelScheme
) -> tuple[NDArray[np.int64], list[NDArray[np.int32]]]:
    """Return pixels [k,d] of each structure in each slice, and locations [n,3] (z, y, x) drawn from each."""
    pixels = np.stack([scheme.counts(codes) for codes in target], axis=1).astype(np.int64)
    return pixels, [_locations(target, scheme, k, pixels[k]) for k in range(len(pixels))]


def _locations(
    target: NDArray[np.unsignedinteger], scheme: LabelScheme, structure: int, pixels: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return up to 1000 voxels of a structure, sorted, each drawn alike; the same for the same target."""
    total, ends = int(pixels.sum()), np.cumsum(pixels)
    ranks = np.arange(total)
    if total > _MOST_LOCATIONS:
        ranks = np.sort(np.random.default_rng(0).choice(total, _MOST_LOCATIONS, replace=False))
    slices = np.searchsorted(ends, ranks, side="right")
    locations = np.empty((len(ranks), 3), dtype=np.int32)
    for z in np.unique(slices):
        chosen = slices == z
        flat = np.flatnonzero(scheme.inside(target[z], structure))[ranks[chosen] - (ends[z] - pixels[z])]
        locations[chosen] = np.column_stack([np.full(len(flat), z), *np.unravel_index(flat, target.shape[1:])])
    return locations
