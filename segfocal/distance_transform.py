"""The exact Euclidean distance transform, in pixels or mm: the one place that computes it."""

from __future__ import annotations

from collections.abc import Sequence

import edt as _edt  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray


def edt(
    inside: NDArray[np.bool_], *, spacing: Sequence[float] | None = None, bordered: bool = False, squared: bool = False
) -> NDArray[np.float32]:
    """Return the distance of each true voxel to the nearest false one; 0 at false ones, infinite where there is none.

    Args:
        inside: mask of 2 or 3 axes.
        spacing: distance of neighbouring voxels along each axis, in the unit of the answer; None counts voxels.
        bordered: whether all that lies around the array counts as false.
        squared: leave out the square root, which float32 would round.
    """
    transform = _edt.edtsq if squared else _edt.edt
    anisotropy = tuple(float(one) for one in spacing) if spacing is not None else (1.0,) * inside.ndim
    return transform(np.ascontiguousarray(inside), anisotropy=anisotropy, black_border=bordered)
