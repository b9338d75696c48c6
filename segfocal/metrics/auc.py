"""ROC AUC and PR AUC: how well logits rank voxels, from a histogram of logits, in one pass and constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # torch takes seconds to load, and masks are judged without it
    from torch import Tensor

_BINS, _LARGEST = 4096, 20.0  # logits beyond ±20 are sure to 2e-9 and share the outer bins


class RankHistogram:
    """Counts voxels of both classes by logit, piece by piece; areas under curves are read from the counts.

    A bin is 0.01 wide in logits; voxels in one bin are ties. If a class has no voxel, the areas are those of chance:
    0.5 for ROC, and for PR the share of voxels inside, which is 0 without any and 1 without one outside.
    """

    def __init__(self) -> None:
        self.positive = np.zeros(_BINS, np.int64)
        self.negative = np.zeros(_BINS, np.int64)

    def add(self, logits: Tensor, inside: Tensor) -> None:
        """Count logits [*space] against a bool mask of their shape."""
        scaled = (logits.float().clamp(-_LARGEST, _LARGEST) + _LARGEST) / (2 * _LARGEST)
        bins = (scaled * _BINS).long().clamp(max=_BINS - 1)
        self.positive += bins[inside].bincount(minlength=_BINS).cpu().numpy()
        self.negative += bins[~inside].bincount(minlength=_BINS).cpu().numpy()

    def add_probabilities(self, probabilities: Tensor, inside: Tensor) -> None:
        """Count probabilities [*space] in [0,1] against a bool mask of their shape, by their logits."""
        self.add(probabilities.float().logit(), inside)

    @property
    def auc(self) -> float:
        """ROC AUC in [0,1]: how often a voxel inside has a larger logit than one outside; ties are half."""
        positives, negatives = int(self.positive.sum()), int(self.negative.sum())
        if not positives or not negatives:
            return 0.5
        below = self.negative.cumsum() - self.negative
        wins = (self.positive * (below + 0.5 * self.negative)).sum()
        return float(wins / positives / negatives)

    @property
    def average_precision(self) -> float:
        """PR AUC in [0,1], as average precision: Σ precision · step of recall, from the largest logit down.

        Ties enter together. Unlike the trapezoid under the same points, which is too large, it interpolates nothing;
        scikit-learn's `average_precision_score` is the same.
        """
        positives = int(self.positive.sum())
        if not positives:
            return 0.0
        steps = self.positive[::-1]
        above = (self.positive + self.negative)[::-1].cumsum()
        return float((steps.cumsum() / np.maximum(above, 1) * steps).sum() / positives)
