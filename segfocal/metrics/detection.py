"""Precision, recall and F1 of what was found, be it voxels of a mask or its lesions.

    precision = TP/(TP+FP)   recall = TP/(TP+FN)   F1 = 2TP/(2TP+FP+FN)

Empty masks: a metric whose denominator is 0 is 1 when both masks are empty (nothing to find, nothing found) and 0 when
only one of them is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Detections:
    """How many there are of each kind.

    Args:
        tp: in the reference and found.
        fp: predicted, but not in the reference.
        fn: in the reference, but missed.
    """

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float:
        """Share in [0,1] of what was predicted that is right."""
        return self._ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share in [0,1] of the reference that was found (sensitivity)."""
        return self._ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; of voxels this is Dice."""
        return self._ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def _ratio(self, above: int, below: int) -> float:
        if below:
            return above / below
        return 1.0 if self.tp + self.fp + self.fn == 0 else 0.0
