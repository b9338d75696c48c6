"""Connected components of masks and the distance to their border, on the CPU.

Masks on a GPU are copied to the CPU, which synchronises the GPU.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from segfocal.connected_components import components
from segfocal.distance_transform import edt

Which = Literal["largest", "random"]


def component_of(mask: Tensor, uniforms: Tensor, *, which: Which) -> Tensor:
    """Return one connected component of each mask [n,h,w] or [n,d,h,w] (bool), alike in shape; none of an empty mask.

    Args:
        mask: of images or volumes.
        uniforms: [n] in [0,1), read for "random" only.
        which: "largest", the first of equals from the top; or "random", all equally likely.
    """
    chosen = np.zeros(mask.shape, dtype=bool)
    for out, one, draw in zip(chosen, mask.cpu().numpy(), uniforms.tolist(), strict=True):
        labels, sizes = components(one)
        if len(sizes):
            out[:] = labels == 1 + (int(draw * len(sizes)) if which == "random" else sizes.argmax())
    return torch.from_numpy(chosen).to(mask.device)


def depth_of(mask: Tensor) -> Tensor:
    """Return each pixel's Euclidean distance to the nearest pixel outside its mask [n,h,w] or [n,d,h,w] (bool).

    The unit is the pixel. It is 0 outside the mask, and what lies beyond the image is outside.
    """
    depth = [_depth(one) for one in mask.cpu().numpy()]
    return torch.from_numpy(np.stack(depth)).to(mask.device)


def centres_of(*regions: Tensor, count: int) -> Tensor:
    """Return the middles xy [n,count,2] of the largest components of several regions [n,h,w] (bool), largest first.

    Of regions [n,d,h,w] they are xyz [n,count,3].

    The middle is the pixel farthest from the border. Components of different regions stay apart where they touch. Where
    there are fewer than `count`, rows of NaN follow.
    """
    centres = np.full((len(regions[0]), count, regions[0].ndim - 1), np.nan, dtype=np.float32)
    for out, rows in zip(centres, zip(*[r.cpu().numpy() for r in regions], strict=True), strict=True):
        found = [components(one) for one in rows]
        sizes = np.concatenate([own for _, own in found])
        places = [(labels, number) for labels, own in found for number in range(1, len(own) + 1)]
        for place, index in zip(out, np.argsort(-sizes, kind="stable"), strict=False):
            labels, number = places[index]
            depth = _depth(labels == number)
            place[:] = np.unravel_index(depth.argmax(), depth.shape)[::-1]
    return torch.from_numpy(centres).to(regions[0].device)


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the depth of one mask, computed inside its bounding box."""
    depth = np.zeros(mask.shape, dtype=np.float32)
    for window in ndimage.find_objects(mask.astype(np.uint8)):  # one, or none
        depth[window] = edt(mask[window], bordered=True)
    return depth
