"""The ignore label: voxels where it lies in the reference are neither trained on nor judged.

Here it is left out of judging. `label_scheme.py` writes it into prepared targets, `sampling/dataset.py` takes it out of
a batch, and `tasks/ignored_pixels.py` keeps it out of the loss.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segfocal.data.case import Case
from segfocal.grid import Volume


def ignored_in(labels: NDArray, case: Case) -> NDArray[np.bool_] | None:
    """Return where a case's label map has the value to ignore; None where it never has."""
    value = case.scheme.ignored_read
    if value is None:
        return None
    inside = case.scheme.holds(labels, value)
    return inside if inside.any() else None


def without_ignored(mask: Volume, labels: Volume, case: Case) -> tuple[Volume, Volume]:
    """Return a mask and its reference with ignored voxels as background in both."""
    ignored = ignored_in(labels.array, case)
    if ignored is None:
        return mask, labels
    one, other = (Volume(array=np.where(ignored, 0, each.array), grid=each.grid) for each in (mask, labels))
    return one, other
