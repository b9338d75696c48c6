"""Panoptic quality: how many lesions were matched one to one, times how well those were drawn.

    SQ = mean IoU of the matched pairs        RQ = TP/(TP + FP/2 + FN/2), the F1 of the matched        PQ = SQ · RQ

Splitting a lesion or joining two costs a false positive or a miss here, unlike in `lesions.py`. On lesions of a few
voxels a border that is one voxel off halves the IoU, so that a threshold of 0.5 is strict for them.

Empty masks: when neither has a component, all three are 1; when nothing is matched, all are 0 (panoptica leaves SQ, or
all three, undefined there).

Source: Kirillov et al., "Panoptic Segmentation", arXiv:1801.00868, equation 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segfocal.metrics.components_matching import Matching


@dataclass(frozen=True, kw_only=True)
class PanopticQuality:
    """How well components were recognised and drawn.

    Args:
        sq: segmentation quality in [0,1], the mean IoU of the matched.
        rq: recognition quality in [0,1], F1 of the matched.
    """

    sq: float
    rq: float

    @property
    def pq(self) -> float:
        """Panoptic quality in [0,1], SQ · RQ."""
        return self.sq * self.rq


def panoptic_quality(matching: Matching) -> PanopticQuality:
    """Return the panoptic quality of components that were matched."""
    found = matching.iou[matching.predicted_of > 0]
    nothing = not len(matching.predicted_of) and not len(matching.true_of)
    sq = float(np.mean(found)) if len(found) else float(nothing)
    return PanopticQuality(sq=sq, rq=matching.detections.f1)
