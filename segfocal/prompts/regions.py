"""Connected components of masks and the distance to their border, on the CPU.

Masks on a GPU are copied to the CPU, which waits for it. Everything is computed inside bounding boxes, so the cost
grows with the size of the targets, not of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

Which = Literal["largest", "random"]
_TOUCHING = np.ones((3, 3), dtype=bool)  # pixels that share a corner are connected


class _Piece(NamedTuple):
    """A connected component: its pixels inside the window of its bounding box."""

    window: tuple[slice, slice]
    inside: NDArray[np.bool_]


def component_of(mask: Tensor, uniforms: Tensor, *, which: Which) -> Tensor:
    """Return one connected component [n,h,w] of each mask [n,h,w] (bool); an empty mask stays empty.

    which: "largest" (the first of equals, from the top), or "random": each as likely as any other, by `uniforms` [n].
    """
    chosen = np.zeros(mask.shape, dtype=bool)
    for out, one, draw in zip(chosen, mask.cpu().numpy(), uniforms.tolist(), strict=True):
        pieces = list(_pieces(one))
        if pieces:
            index = int(draw * len(pieces)) if which == "random" else int(np.argmax([p.inside.sum() for p in pieces]))
            out[pieces[index].window] = pieces[index].inside
    return torch.from_numpy(chosen).to(mask.device)


def depth_of(mask: Tensor) -> Tensor:
    """Return each pixel's Euclidean distance [n,h,w] to the nearest pixel outside its mask [n,h,w] (bool).

    In pixels, 0 outside. Beyond the image is outside.
    """
    depth = np.zeros(mask.shape, dtype=np.float32)
    for out, one in zip(depth, mask.cpu().numpy(), strict=True):
        for window in ndimage.find_objects(one.astype(np.uint8)):
            out[window] = _depth(one[window])
    return torch.from_numpy(depth).to(mask.device)


def centres_of(*regions: Tensor, count: int) -> Tensor:
    """Return the middles xy [n,count,2] of the largest components of several regions [n,h,w] (bool), largest first.

    The middle is the pixel farthest from the border. Components of different regions are different though they touch.
    Rows of NaN stand where there are fewer.
    """
    centres = np.full((len(regions[0]), count, 2), np.nan, dtype=np.float32)
    for out, rows in zip(centres, zip(*[r.cpu().numpy() for r in regions], strict=True), strict=True):
        pieces = [piece for one in rows for piece in _pieces(one)]
        pieces.sort(key=lambda piece: -piece.inside.sum())
        for place, piece in zip(out, pieces, strict=False):
            y, x = np.unravel_index(np.argmax(_depth(piece.inside)), piece.inside.shape)
            place[:] = piece.window[1].start + x, piece.window[0].start + y
    return torch.from_numpy(centres).to(regions[0].device)


def _pieces(mask: NDArray[np.bool_]) -> Iterator[_Piece]:
    labels, _ = ndimage.label(mask, structure=_TOUCHING)
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        yield _Piece(window, labels[window] == number)


def _depth(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the depth of a mask cut out along its bounding box."""
    return ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
