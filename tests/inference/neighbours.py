"""What direct code makes of neighbouring slices as channels."""

import numpy as np


def expected(slices, neighbours):
    """Return what direct code makes of slices [d,h,w]: channels [2n+1,d,h,w]."""
    last = len(slices) - 1
    return np.stack([
        [slices[min(max(z + step, 0), last)] for z in range(len(slices))] for step in range(-neighbours, neighbours + 1)
    ])  # fmt: skip
