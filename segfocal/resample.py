"""From a scan's grid to the one a model sees: axes turned to its frame, slices resized to its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from segfocal.errors import UserError
from segfocal.grid import Grid, Volume, check_frame

_LARGEST_SIDE = 8192  # pixels; a larger side comes from a wrong spacing, not from a large scan
_CHUNK = 8  # slices resized at a time: bounds the float copies, and reuses their memory


@dataclass(frozen=True, kw_only=True)
class ModelGrid:
    """The frame a model sees scans in (axis 0 is the slice axis), and its pixel spacing or size.

    With neither spacing nor size a scan keeps its own pixels.

    Args:
        frame: three letters (segfocal.grid); "SPL", the default, gives axial slices as radiologists look at them.
        spacing_mm: (h, w) of a pixel, or (d, h, w) of a voxel, > 0. With two numbers the slice axis is never resampled.
        size: pixels (h, w) of every slice, whatever its shape; the aspect ratio is not kept.

    Raises:
        ValueError: an option out of its range, or both spacing and size.
    """

    frame: str = "SPL"
    spacing_mm: tuple[float, float] | tuple[float, float, float] | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_frame(self.frame)
        if self.spacing_mm is not None and not (
            len(self.spacing_mm) in (2, 3) and all(mm > 0 for mm in self.spacing_mm)
        ):
            raise ValueError(f"expected a pixel spacing > 0 mm, (h, w) or (d, h, w); got {self.spacing_mm}")
        if self.size is not None and not all(1 <= side <= _LARGEST_SIDE for side in self.size):
            raise ValueError(f"expected a size of 1 to {_LARGEST_SIDE} pixels a side; got {self.size}")
        if self.size is not None and self.spacing_mm is not None:
            raise ValueError("expected data.spacing_mm or data.size; got both: set one of them to null")

    def of(self, grid: Grid) -> Grid:
        """Return the grid on which the model sees a scan of `grid`.

        Raises:
            UserError: a spacing that makes a side too long, or many slices of one.
        """
        turned = grid.oriented(grid.orientation_to(self.frame))
        if self.size is not None:
            return turned.resized((turned.shape[0], *self.size))
        if self.spacing_mm is None:
            return turned
        mm_d, mm_h, mm_w = self.spacing_mm if len(self.spacing_mm) == 3 else (None, *self.spacing_mm)
        seen = turned.resized(turned.shape_at((mm_d, mm_h, mm_w)))
        resampled = [new for new, mm in zip(seen.shape, (mm_d, mm_h, mm_w), strict=True) if mm is not None]
        if max(resampled) > _LARGEST_SIDE or any(s == 1 < t for s, t in zip(seen.shape, turned.shape, strict=True)):
            raise UserError(
                expected=f"a scan for pixels of {self.spacing_mm} mm and at most {_LARGEST_SIDE} of them a side",
                found=_described(turned, len(resampled)),
                do="check the spacing in the scan's header (is it in mm?), or choose another data.spacing_mm",
            )
        return seen

    def image(self, scan: Volume) -> Volume:
        """Return a scan's intensities on the model's grid, float32, low-pass filtered where it shrinks."""
        turned = scan.oriented(self.frame)
        grid = self.of(scan.grid)
        return Volume(array=resize_volume(turned.array, grid.shape), grid=grid)

    def labels(self, labels: Volume, values: Sequence[int]) -> Volume:
        """Return uint8 indices on the model's grid: 0 background, i+1 where `values[i]` has the largest share."""
        turned = labels.oriented(self.frame)
        grid = self.of(labels.grid)
        return Volume(array=resize_labels(turned.array, values, grid.shape), grid=grid)


def _described(grid: Grid, axes: int) -> str:
    """Return the last `axes` sides and spacings of a grid in words."""
    sides = "×".join(str(side) for side in grid.shape[-axes:])
    spacing = "×".join(f"{mm:.4g}" for mm in grid.spacing_mm[-axes:])
    return f"{sides} {'pixels' if axes == 2 else 'voxels'} of {spacing} mm"


def resize_slices(slices: NDArray, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Return slices [d,h,w] resized to [d,*size] float32, bilinear, with antialiasing where they shrink."""
    shrinks = any(new < now for new, now in zip(size, slices.shape[1:], strict=True))
    return _resize_slices(
        slices, size, antialias=shrinks
    )  # antialiasing changes nothing where slices grow, and takes twice as long


def _resize_slices(slices: NDArray, size: tuple[int, ...], *, antialias: bool = True) -> NDArray[np.float32]:
    if slices.shape[1:] == tuple(size):
        return np.ascontiguousarray(slices, dtype=np.float32)
    out = np.empty((slices.shape[0], *size), dtype=np.float32)
    for start in range(0, len(slices), _CHUNK):
        part = torch.from_numpy(np.ascontiguousarray(slices[start : start + _CHUNK], dtype=np.float32))[:, None]
        out[start : start + _CHUNK] = _interpolated(part, size, antialias=antialias)[:, 0].numpy()
    return out


def resize_volume(array: NDArray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an array [d,h,w] resized to `shape`, float32: first its slices (`resize_slices`), then the slice axis."""
    return _resize_depth(resize_slices(array, shape[1:]), shape[0])


def _resize_depth(slices: NDArray[np.float32], depth: int) -> NDArray[np.float32]:
    if depth == len(slices):
        return slices
    _, height, width = slices.shape
    out = np.empty((depth, height, width), dtype=np.float32)
    for row in range(height):  # one image [d,w] at a time, resized in its first axis only
        out[:, row] = _resize_slices(slices[None, :, row], (depth, width))[0]
    return out


def resize_labels(labels: NDArray, values: Sequence[int], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return class indices of a label map [d,h,w] at `size`, (h, w) or (d, h, w): i+1 for `values[i]`, 0 elsewhere.

    Each class is resized as an image of its share of each pixel. The class of the largest share gets the pixel.
    """
    shape = (len(labels), *size) if len(size) == 2 else tuple(size)
    if shape[0] != len(labels):
        return _largest_share(labels, values, shape)
    out = np.empty(shape, dtype=np.uint8)
    for z, one in enumerate(labels):
        out[z] = _largest_share(one[None], values, (1, *shape[1:]))[0]
    return out


def _largest_share(labels: NDArray, values: Sequence[int], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    out = np.zeros(shape, dtype=np.uint8)
    best: NDArray[np.float32] | None = None
    for index, value in enumerate(values, start=1):
        inside = labels == value
        if not inside.any():  # its share is 0 everywhere
            continue
        if best is None:
            several = len(values) > 1
            best = _shares(~np.isin(labels, values), shape) if several else np.full(shape, 0.5, dtype=np.float32)
        share = _shares(inside, shape) if len(inside) != 1 else _resize_inside(inside[0], shape[1:])[None]
        wins = (share >= best) & (share > 0)
        out[wins] = index
        best[wins] = share[wins]
    return out


def _shares(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return _resize_depth(_resize_slices(mask, shape[1:]), shape[0])


def _resize_inside(mask: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a mask [h,w] resized as by `_resize_slices`, bit for bit, from the rows and columns it occupies."""
    held = np.flatnonzero(mask.any(1))
    rows = slice(held[0], held[-1] + 1)
    wide = _resize_slices(mask[None, rows], (rows.stop - rows.start, size[1]))[0]
    held = np.flatnonzero(wide.any(0))
    columns = slice(max(held[0] - 1, 0), held[-1] + 2)  # two at least: PyTorch 2.13 errs where one is asked for
    tall = np.zeros((1, len(mask), wide[:, columns].shape[1]), dtype=np.float32)
    tall[0, rows] = wide[:, columns]
    out = np.zeros(size, dtype=np.float32)
    out[:, columns] = _resize_slices(tall, (size[0], tall.shape[2]))[0]
    return out


def through_plane(now: int, wanted: int) -> Tensor:
    """Return the weights [wanted,now] by which `resize_volume` interpolates `wanted` slices from `now`."""
    return resized(torch.eye(now)[None, None], (wanted, now))[0, 0]


def resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return images or logits [b,c,h,w] at `size`, bilinear over the same space, antialiased where they shrink."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return _interpolated(images, size, antialias=True)


def _interpolated(images: Tensor, size: tuple[int, ...], *, antialias: bool) -> Tensor:
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=antialias)


def slices_joined(count: int, wanted: int) -> list[list[int]]:
    """Return which of `count` slices each of `wanted` that fill the same extent stands for.

    Those to which it is the nearest, so that none is lost; else the one nearest to it.
    """
    near, own = nearest_slices(wanted, count), nearest_slices(count, wanted)
    return [[place for place, z in enumerate(near) if z == one] or [own[one]] for one in range(wanted)]


def nearest_slices(count: int, wanted: int) -> list[int]:
    """Return which of `count` slices lies nearest to the middle of each of `wanted` that fill the same extent."""
    return [min(int((place + 0.5) * count / wanted), count - 1) for place in range(wanted)]
