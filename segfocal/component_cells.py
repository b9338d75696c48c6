"""Component cells: the parts of space nearest to each connected component of a mask, its Voronoi cells.

    C(i) = the voxels nearer to component i than to any other, distances in mm

A component lies in its own cell, so one map holds both: the components are what the mask leaves of their cells. The
cells of a slice alone are those of the components that it cuts, with distances in plane: what a network of slices sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segfocal.connected_components import Components, components


class ComponentCells(NamedTuple):
    """Cells of a mask [h,w] or [d,h,w]: of each voxel the number of its nearest component, 0 where there is none.

    Args:
        cells: integers of the mask's shape.
        numbers: those of the components, from 1, 0 outside.
        sizes: [n], voxels of each component.
    """

    cells: NDArray
    numbers: NDArray
    sizes: NDArray[np.int64]


def component_cells(mask: NDArray, spacing_mm: Sequence[float], *, by_slice: bool = False) -> ComponentCells:
    """Number the components of a mask, with 26 neighbours a voxel (8 in 2-D), and give each voxel to the nearest.

    Voxels equally near to several go to any of them.

    Args:
        mask: [h,w] or [d,h,w], non-zero inside.
        spacing_mm: distance of neighbouring voxels along each axis.
        by_slice: cells of each slice [h,w] by itself, of the components of the whole [d,h,w] that it cuts; 0 in a slice
            that cuts none.

    Raises:
        ValueError: another number of axes than 2 or 3, or of distances.
    """
    if mask.ndim not in (2, 3) or len(spacing_mm) != mask.ndim:
        raise ValueError(f"expected a mask of 2 or 3 axes with a spacing each; got {mask.shape} and {spacing_mm}")
    numbers, sizes = _numbered(mask)
    if not by_slice or mask.ndim == 2:
        return ComponentCells(_nearest(numbers, spacing_mm), numbers, sizes)
    cells = np.zeros_like(numbers)
    for z in np.flatnonzero(numbers.any((1, 2))):
        cells[z] = _nearest(numbers[z], spacing_mm[1:])
    return ComponentCells(cells, numbers, sizes)


def _numbered(mask: NDArray) -> Components:
    """Return the components of a mask, of type uint16 where their numbers fit."""
    if not mask.any():
        return Components(np.zeros(mask.shape, np.uint16), np.zeros(0, np.int64))
    found = components(np.ascontiguousarray(mask != 0))
    kind = np.uint16 if len(found.sizes) <= np.iinfo(np.uint16).max else np.uint32
    return Components(found.numbers.astype(kind), found.sizes)


def _nearest(numbers: NDArray, spacing_mm: Sequence[float]) -> NDArray:
    """Return the number nearest to each voxel of `numbers`, 0 where all are."""
    there = _held(numbers)
    if len(there) < 2:
        return np.full_like(numbers, there[0] if len(there) else 0)
    nearest = ndimage.distance_transform_edt(
        numbers == 0, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    return numbers[tuple(nearest)]


def _held(numbers: NDArray) -> NDArray[np.int64]:
    """Return the numbers above 0 that occur, ascending."""
    inside = numbers[numbers > 0]
    return np.flatnonzero(np.bincount(inside)) if len(inside) else np.zeros(0, np.int64)
