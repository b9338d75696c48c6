"""Distance between the surfaces of two masks.

    HD95 = max(P95 of the distances from A's surface to B's, P95 from B's to A's), in mm

The surface is every voxel of a mask with a neighbour (by a face) outside it, or at the border of the volume. The
maximum of the two directed percentiles is MONAI's definition; others take one percentile of both sets together.

Empty masks: 0 when both are empty; the diagonal of the volume, which no distance exceeds, when one of them is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def hausdorff95(prediction: NDArray, reference: NDArray, spacing_mm: tuple[float, ...]) -> float:
    """Return HD95 in mm of two masks [*space] (true or non-zero inside) with voxels of `spacing_mm`.

    Raises:
        ValueError: masks of different shapes, another number of spacings than axes.
    """
    if prediction.shape != reference.shape or prediction.ndim != len(spacing_mm):
        raise ValueError(
            f"expected masks of one shape with a spacing for each axis; got {prediction.shape}, {reference.shape} and "
            f"{spacing_mm}"
        )
    one, other = prediction != 0, reference != 0
    if not one.any() and not other.any():
        return 0.0
    if not one.any() or not other.any():
        return float(np.linalg.norm([n * mm for n, mm in zip(one.shape, spacing_mm, strict=True)]))
    box = ndimage.find_objects((one | other).astype(np.uint8))[0]
    one, other = one[box], other[box]
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (one, other)]
    distances = [ndimage.distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    return float(max(np.percentile(distances[1][surfaces[0]], 95), np.percentile(distances[0][surfaces[1]], 95)))
