"""How well logits rank voxels, in one pass and constant memory: areas under curves from a histogram of logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # torch takes seconds to load, and whoever only reads figures does without
    from torch import Tensor

_BINS, _LARGEST = 4096, 20.0  # logits beyond ±20 are sure to 2e-9 and share the outer bins


class RankHistogram:
    """Counts voxels of both classes by logit, piece by piece; areas under curves are read from the counts.

    A bin is 0.01 wide in logits; voxels that share one are ties. Empty classes: the areas are then those of chance, 0.5
    for ROC and for PR the share of voxels inside: 0 without any, 1 without one outside.
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
        """Area under the ROC curve: how often a voxel inside has the larger logit than one outside, ties half."""
        positives, negatives = int(self.positive.sum()), int(self.negative.sum())
        if not positives or not negatives:
            return 0.5
        below = self.negative.cumsum() - self.negative
        wins = (self.positive * (below + 0.5 * self.negative)).sum()
        return float(wins / positives / negatives)

    @property
    def average_precision(self) -> float:
        """Area under the precision-recall curve as Σ precision · step of recall, from the largest logit down.

        Ties enter together. Unlike the trapezoid under the same points, which is too large, it interpolates nothing;
        scikit-learn's `average_precision_score` is the same.
        """
        positives = int(self.positive.sum())
        if not positives:
            return 0.0
        steps = self.positive[::-1]
        above = (self.positive + self.negative)[::-1].cumsum()
        return float((steps.cumsum() / np.maximum(above, 1) * steps).sum() / positives)
