"""Voxels that count for nothing when a mask is judged: where the reference has the label value to ignore."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segfocal.data.case import Case
from segfocal.grid import Volume


def ignored_in(labels: NDArray, case: Case) -> NDArray[np.bool_] | None:
    """Return where a case's label map says that voxels count for nothing; None where it never does."""
    value = case.scheme.ignored_read
    if value is None:
        return None
    inside = case.scheme.holds(labels, value)
    return inside if inside.any() else None


def without_ignored(mask: Volume, labels: Volume, case: Case) -> tuple[Volume, Volume]:
    """Return a mask and its reference with voxels that count for nothing as background in both."""
    ignored = ignored_in(labels.array, case)
    if ignored is None:
        return mask, labels
    one, other = (Volume(array=np.where(ignored, 0, each.array), grid=each.grid) for each in (mask, labels))
    return one, other
