"""Component cells: the parts of space nearest to each connected component of a mask, its Voronoi cells.

    C(i) = the voxels nearer to component i than to any other, distances in mm

A component lies in its own cell, so one map holds both: the components are what the mask leaves of their cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segfocal.connected_components import components


class ComponentCells(NamedTuple):
    """Cells of a mask [h,w] or [d,h,w]: of each voxel the number of its nearest component, 0 where there is none.

    Args:
        cells: integers of the mask's shape.
        sizes: [n], voxels of each component, in order of their numbers, which begin at 1.
    """

    cells: NDArray
    sizes: NDArray[np.int64]


def component_cells(mask: NDArray, spacing_mm: Sequence[float]) -> ComponentCells:
    """Number the components of a mask, with 26 neighbours a voxel (8 in 2-D), and give each voxel to the nearest.

    Voxels equally near to several go to any of them.

    Args:
        mask: [h,w] or [d,h,w], non-zero inside.
        spacing_mm: distance of neighbouring voxels along each axis.

    Raises:
        ValueError: another number of axes than 2 or 3, or of distances.
    """
    if mask.ndim not in (2, 3) or len(spacing_mm) != mask.ndim:
        raise ValueError(f"expected a mask of 2 or 3 axes with a spacing each; got {mask.shape} and {spacing_mm}")
    found = components(np.ascontiguousarray(mask != 0))
    return ComponentCells(nearest_component(found.numbers, spacing_mm), found.sizes)


def nearest_component(numbers: NDArray, spacing_mm: Sequence[float]) -> NDArray:
    """Return the cells of components that have their numbers: of each voxel the number nearest to it.

    Args:
        numbers: integers [h,w] or [d,h,w], 0 outside every component; without any the answer is 0 everywhere.
        spacing_mm: distance of neighbouring voxels along each axis.
    """
    inside = numbers[numbers > 0]
    if not len(inside) or (inside == inside[0]).all():
        return np.full_like(numbers, inside[0] if len(inside) else 0)
    nearest = ndimage.distance_transform_edt(
        numbers == 0, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    flat = nearest[0].astype(np.int32 if numbers.size < 2**31 else np.int64, copy=False)
    for length, index in zip(numbers.shape[1:], nearest[1:], strict=True):
        flat = flat * length + index  # a quarter of the time of indexing by three arrays
    return numbers.ravel().take(flat)
