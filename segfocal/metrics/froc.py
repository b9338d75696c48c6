"""FROC: how many lesions are found at how many false positives a case, as the threshold on candidates falls.

A candidate is a component of the voxels with at least a given probability, the floor; its confidence is its largest
probability. It hits a lesion when they overlap, as in `lesions.py`, and is a false positive when it hits none. A lesion
counts as found at every threshold up to the confidence of the surest candidate that hits it.

    recall(t) = lesions found at t / lesions        false positives(t) = those with a confidence ≥ t / cases
    score = mean recall at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a case

The curve is a staircase: the recall at a rate is the largest that is reached at no more false positives. LUNA16 and
MONAI's `compute_froc_score` interpolate between its points, which no threshold reaches; MONAI's curve also lacks the
point of the lowest one. Neighbouring lesions that grow together at the floor are one candidate, which hits both.

Sources: Bunch et al., SPIE 127, 1977; Setio et al., "Validation, comparison, and combination of algorithms for
automatic detection of pulmonary nodules", Medical Image Analysis 42, 2017, for the seven rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segfocal.metrics.components_matching import ComponentOverlaps
from segfocal.metrics.surface_distances import joint_box

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives a case


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """What the probabilities of one case give to a FROC.

    Args:
        false: confidence of each candidate that hits no lesion.
        lesions: for each lesion the confidence of the surest candidate that hits it; 0 where none does.
    """

    false: NDArray[np.float64]
    lesions: NDArray[np.float64]

    @classmethod
    def of(cls, probabilities: NDArray, reference: NDArray, *, floor: float = 0.1, overlap: float = 0.0) -> Candidates:
        """Find the candidates of one case.

        Args:
            probabilities: [h,w] or [d,h,w] in [0,1].
            reference: mask of the same shape, non-zero inside.
            floor: probability in (0,1] from which on a voxel belongs to a candidate.
            overlap: share in [0,1) of a lesion that a candidate must exceed to hit it, and of a candidate that must
                lie in lesions for it to be right; 0: one voxel is enough.

        Raises:
            ValueError: a floor or an overlap out of range, different shapes.
        """
        if not 0 < floor <= 1 or not 0 <= overlap < 1:
            raise ValueError(f"expected a floor in (0,1] and an overlap in [0,1); got {floor} and {overlap}")
        if probabilities.shape != reference.shape:
            raise ValueError(f"expected arrays of one shape; got {probabilities.shape} and {reference.shape}")
        likely, true_mask = probabilities >= floor, reference != 0
        box = joint_box(likely, true_mask)
        likely = likely[box]
        overlaps = ComponentOverlaps.between(likely, true_mask[box])
        surest = np.zeros(len(overlaps.predicted.sizes) + 1)
        np.maximum.at(surest, overlaps.predicted.numbers[likely], probabilities[box][likely])
        true, predicted = overlaps.pairs.T
        hits = overlaps.common > overlap * overlaps.true.sizes[true - 1]
        lesions = np.zeros(len(overlaps.true.sizes))
        np.maximum.at(lesions, true[hits] - 1, surest[predicted[hits]])
        return cls(false=surest[1:][~overlaps.useful(overlap)], lesions=lesions)


@dataclass(frozen=True, kw_only=True, eq=False)
class Froc:
    """The curve over all cases, by falling threshold.

    Args:
        thresholds: [t] confidences that occur, the largest first.
        false_positives: [t] false positives a case.
        recall: [t] share of the lesions found.
    """

    thresholds: NDArray[np.float64]
    false_positives: NDArray[np.float64]
    recall: NDArray[np.float64]

    def recall_at(self, rate: float) -> float:
        """Return the largest recall that is reached at no more than `rate` false positives a case."""
        reached = int(np.searchsorted(self.false_positives, rate * (1 + 1e-12), side="right"))
        return float(self.recall[reached - 1]) if reached else 0.0

    @property
    def score(self) -> float:
        """Mean recall at the seven rates."""
        return float(np.mean([self.recall_at(rate) for rate in RATES]))

    def steps(self) -> Froc:
        """Return the curve with the points alone at which recall rises, and the last one: the same staircase."""
        rises = np.diff(self.recall, prepend=0.0) > 0
        rises[-1:] = True
        return Froc(
            thresholds=self.thresholds[rises],
            false_positives=self.false_positives[rises],
            recall=self.recall[rises],
        )


def froc_curve(cases: Sequence[Candidates]) -> Froc:
    """Return the curve of the candidates of all cases together, those without a lesion too.

    Raises:
        ValueError: no case, or none with a lesion.
    """
    lesions = np.concatenate([each.lesions for each in cases]) if cases else np.zeros(0)
    if not len(lesions):
        raise ValueError("expected a lesion in some case; got none")
    false = np.sort(np.concatenate([each.false for each in cases]))
    lesions = np.sort(lesions)
    thresholds = np.unique(np.concatenate([false, lesions[lesions > 0]]))[::-1]
    return Froc(
        thresholds=thresholds,
        false_positives=(len(false) - np.searchsorted(false, thresholds)) / len(cases),
        recall=(len(lesions) - np.searchsorted(lesions, thresholds)) / len(lesions),
    )
