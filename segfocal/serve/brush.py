"""Strokes of a brush: which voxels of a scan lie within a radius of a line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Grid
from segfocal.serve.history import Stroke
from segfocal.serve.refusal import Refused
from segfocal.structure import Structure

_PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}  # which of head, front and right a plane is cut across
_LARGEST_MM = 200.0
_FORGIVEN = 1e-6  # mm: a voxel at the radius counts, whatever rounding says


def check_stroke(stroke: Stroke, grid: Grid) -> None:
    """Raise Refused for a brush that is too large, or a stroke over no voxel."""
    if not 0 < stroke.radius_mm <= _LARGEST_MM:
        expected = f"radius_mm above 0, to {_LARGEST_MM:g}"
        raise Refused(422, expected=expected, found=f"{stroke.radius_mm:g}", do="change it")
    if not len(painted(stroke, grid)):
        raise Refused(422, expected="a stroke over a voxel", found="none", do="take a larger brush")


def normal_axis(grid: Grid, plane: str) -> int:
    """Return the array axis of a scan that runs across a plane: axial, coronal or sagittal."""
    return grid.orientation_to("SAR").axes[_PLANES[plane]]


def voxels_of(grid: Grid, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return world places [n,3] in mm as continuous voxel indices."""
    return (places - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T


def painted(stroke: Stroke, grid: Grid) -> NDArray[np.intp]:
    """Return the indices [n,3] of the voxels of a stroke: their centres are no farther than its radius from its line.

    In a plane they are those of the slice at its first place. Distances are along the axes, also of a sheared grid.
    """
    line = voxels_of(grid, np.array(stroke.world_mm, dtype=np.float64))
    spacing = np.array(grid.spacing_mm)
    across = None if stroke.plane is None else normal_axis(grid, stroke.plane)
    if across is not None:
        line[:, across] = np.floor(line[0, across] + 0.5)
    reach = stroke.radius_mm / spacing
    if across is not None:
        reach[across] = 0.0
    low, high = _bounds(line, reach, grid.shape)
    if (high <= low).any():
        return np.empty((0, 3), dtype=np.intp)
    inside = np.zeros(high - low, dtype=bool)
    for start, stop in zip(line, line[1:] if len(line) > 1 else line, strict=False):
        first, last = _bounds(np.stack([start, stop]), reach, grid.shape)
        if (last > first).all():
            part = tuple(slice(a - b, c - b) for a, c, b in zip(first, last, low, strict=True))
            inside[part] |= _near(start, stop, (first, last), spacing, stroke.radius_mm)
    return np.argwhere(inside) + low


def _bounds(line: NDArray, reach: NDArray, shape: Sequence[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the half-open box of voxels that may lie within reach of a line [n,3], as far as the scan goes."""
    low = np.ceil(line.min(0) - reach - _FORGIVEN).clip(0, shape).astype(np.intp)
    high = (np.floor(line.max(0) + reach + _FORGIVEN) + 1).clip(0, shape).astype(np.intp)
    return low, high


def _near(
    start: NDArray, stop: NDArray, box: tuple[NDArray[np.intp], NDArray[np.intp]], spacing: NDArray, radius_mm: float
) -> NDArray[np.bool_]:
    """Return which voxels of a box lie within a radius of the piece of line between two places."""
    axes = [(np.arange(a, b) - at) * mm for a, b, at, mm in zip(*box, start, spacing, strict=True)]
    offset = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    along = (stop - start) * spacing
    length = float(along @ along)
    share = (offset @ along / length).clip(0, 1) if length else np.zeros(offset.shape[:3])
    distance = np.linalg.norm(offset - share[..., None] * along, axis=-1)
    return distance <= radius_mm + _FORGIVEN


def paint(labels: NDArray, voxels: NDArray[np.intp], stroke: Stroke, structures: Sequence[Structure]) -> None:
    """Write a stroke into label values.

    Args:
        labels: of the scan; written to.
        voxels: the stroke's, [n,3].
        stroke: says what to write there.
        structures: of the bundle.
    """
    place = tuple(voxels.T)
    now = labels[place]
    own = next((one for one in structures if one.name == stroke.structure), None)
    if own is None:
        labels[place] = 0
    elif own.overlaps:
        value = labels.dtype.type(own.value)
        labels[place] = now & ~value if stroke.erase else now | value
    else:
        labels[place] = np.where(now == own.value, 0, now) if stroke.erase else own.value
