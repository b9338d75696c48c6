"""Detection of lesions: which connected components of the reference were found, and which predicted ones are wrong.

    TP  lesions of the reference that the prediction covers       recall    = TP/(TP+FN)
    FN  lesions of the reference that it does not                 precision = TP/(TP+FP)
    FP  components of the prediction that cover no lesion         F1        = 2TP/(2TP+FP+FN)

A lesion is a connected component with 26 neighbours a voxel in 3-D (8 in 2-D): faces, edges and corners connect. A
component is covered when more than a share `overlap` of its voxels lies in the other mask; at 0, one voxel is enough.
One predicted component that joins two lesions finds both, and two pieces of one lesion count once and none as wrong:
splitting and joining cost nothing here. One-to-one matching (`components_matching.py`) counts them as errors.

Empty masks: a metric whose denominator is 0 is 1 when both masks are empty (nothing to find, nothing found) and 0 when
only one of them is.
"""

from __future__ import annotations

from numpy.typing import NDArray

from segfocal.metrics.components_matching import ComponentOverlaps
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
    if not 0 <= overlap < 1:
        raise ValueError(f"expected an overlap in [0,1); got {overlap}")
    return ComponentOverlaps.between(prediction, reference).detections(overlap)
