"""Component cells: the parts of space nearest to each connected component of a mask, its Voronoi cells.

    C(i) = the voxels nearer to component i than to any other, distances in mm

A component lies in its own cell, so one map holds both: the components are what the mask leaves of their cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segfocal.connected_components import components


def component_cells(mask: NDArray, spacing_mm: Sequence[float]) -> NDArray:
    """Return the cells of a mask's components: of each voxel the number of its nearest one, 0 where there is none.

    Components have 26 neighbours a voxel (8 in 2-D), and numbers from 1 on. Voxels equally near to several go to any.

    Args:
        mask: [h,w] or [d,h,w], non-zero inside.
        spacing_mm: distance of neighbouring voxels along each axis.

    Raises:
        ValueError: another number of axes than 2 or 3, or of distances.
    """
    if mask.ndim not in (2, 3) or len(spacing_mm) != mask.ndim:
        raise ValueError(f"expected a mask of 2 or 3 axes with a spacing each; got {mask.shape} and {spacing_mm}")
    return nearest_component(components(np.ascontiguousarray(mask != 0)).numbers, spacing_mm)


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
