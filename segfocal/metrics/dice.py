"""Metrics of counted voxels: Dice, IoU, precision, recall, specificity, accuracy and volumes of a predicted mask.

    Dice = 2TP/(2TP+FP+FN)   IoU = TP/(TP+FP+FN)   precision = TP/(TP+FP)   recall = TP/(TP+FN)
    specificity = TN/(TN+FP)   accuracy = (TP+TN)/(TP+FP+FN+TN)
    volume difference = predicted − reference volume, in ml, and relative to the reference's

Specificity and accuracy count the voxels outside, so they rise with the size of the scan.

Empty masks: a metric whose denominator is 0 is 1 when both masks are empty (nothing to find, nothing found) and 0 when
only one of them is. Specificity is 1 when no voxel lies outside the reference. The relative volume difference of
an empty reference is 0 when the prediction is empty too and otherwise 1, as far from right as the −1 of a structure
that was missed. No case is ever dropped and no metric is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segfocal.metrics.detection import Detections


@dataclass(frozen=True, kw_only=True)
class Counts(Detections):
    """Voxels of each kind; their sum is the number of voxels.

    Args:
        tp: in both masks.
        fp: in the prediction only.
        fn: in the reference only.
        tn: in neither.
    """

    tn: int

    @property
    def dice(self) -> float:
        """Twice the common voxels over the sum of both masks, in [0,1]."""
        return self.f1

    @property
    def iou(self) -> float:
        """Common voxels over those of either mask (Jaccard index), in [0,1]."""
        return self._ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def specificity(self) -> float:
        """Share in [0,1] of the voxels outside the reference that were left out; near 1 for any small target."""
        return self.tn / (self.tn + self.fp) if self.tn + self.fp else 1.0

    @property
    def accuracy(self) -> float:
        """Share in [0,1] of all voxels that are right; near 1 for any small target, found or not."""
        return (self.tp + self.tn) / (self.tp + self.tn + self.fp + self.fn)

    def volume_difference_ml(self, voxel_ml: float) -> float:
        """Return predicted minus reference volume in ml, `voxel_ml` a voxel; negative where too little was found."""
        return (self.fp - self.fn) * voxel_ml

    @property
    def relative_volume_difference(self) -> float:
        """Predicted minus reference volume over the reference's; −0.3 is 30 % too little."""
        if self.tp + self.fn:
            return (self.fp - self.fn) / (self.tp + self.fn)
        return 1.0 if self.fp else 0.0

    def row(self) -> dict[str, float | int]:
        """Return the metrics and counts by name, in the order of a table."""
        return {
            "dice": self.dice,
            "iou": self.iou,
            "precision": self.precision,
            "recall": self.recall,
            "specificity": self.specificity,
            "accuracy": self.accuracy,
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
            "tn": self.tn,
        }


def count(prediction: NDArray, reference: NDArray, value: int) -> Counts:
    """Count the voxels of one label in two label maps [*space]; ValueError when their shapes differ."""
    if prediction.shape != reference.shape:
        raise ValueError(f"expected masks of one shape; got {prediction.shape} and {reference.shape}")
    predicted, true = prediction == value, reference == value
    tp = int(np.count_nonzero(predicted & true))
    fp, fn = int(np.count_nonzero(predicted)) - tp, int(np.count_nonzero(true)) - tp
    return Counts(tp=tp, fp=fp, fn=fn, tn=predicted.size - tp - fp - fn)
