"""Detection of lesions: which connected components of the reference were found, and which predicted ones are wrong.

    TP  lesions of the reference that the prediction covers       recall    = TP/(TP+FN)
    FN  lesions of the reference that it does not                 precision = TP/(TP+FP)
    FP  components of the prediction that cover no lesion         F1        = 2TP/(2TP+FP+FN)

A lesion is a connected component with 26 neighbours a voxel in 3-D (8 in 2-D): faces, edges and corners connect. A
component is covered when more than a share `overlap` of its voxels lies in the other mask; at 0, one voxel is enough.
One predicted component that joins two lesions finds both, and two pieces of one lesion count once and none as wrong:
splitting and joining cost nothing here. One-to-one matching (panoptic quality, at IoU > 0.5) counts them as errors.

Empty masks: a metric whose denominator is 0 is 1 when both masks are empty (nothing to find, nothing found) and 0 when
only one of them is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segfocal.connected_components import components
from segfocal.metrics.detection import Detections


def count_lesions(prediction: NDArray, reference: NDArray, *, overlap: float = 0.0) -> Detections:
    """Count the lesions that were found, predicted wrongly and missed.

    Args:
        prediction: mask [h,w] or [d,h,w], non-zero inside.
        reference: mask of the same shape.
        overlap: share in [0,1) of a component's voxels that must be exceeded for it to be covered; 0: one is enough.

    Raises:
        ValueError: masks of different shapes or another number of axes, an overlap outside [0,1).
    """
    if prediction.shape != reference.shape or prediction.ndim not in (2, 3):
        raise ValueError(
            f"expected two masks of one shape with 2 or 3 axes; got {prediction.shape} and {reference.shape}"
        )
    if not 0 <= overlap < 1:
        raise ValueError(f"expected an overlap in [0,1); got {overlap}")
    predicted, true = prediction != 0, reference != 0
    lesions, found = _covered(true, predicted, overlap)
    pieces, useful = _covered(predicted, true, overlap)
    return Detections(tp=found, fn=lesions - found, fp=pieces - useful)


def _covered(mask: NDArray[np.bool_], by: NDArray[np.bool_], overlap: float) -> tuple[int, int]:
    """Return the number of components of a mask, and of those covered by another."""
    numbers, sizes = components(mask)
    inside = np.bincount(numbers[mask & by], minlength=len(sizes) + 1)[1:]
    return len(sizes), int(np.count_nonzero(inside > overlap * sizes))
