"""How well logits rank voxels, in one pass and constant memory: areas under curves from a histogram of logits."""

from __future__ import annotations

import torch
from torch import Tensor

_BINS, _LARGEST = 4096, 20.0  # logits beyond ±20 are sure to 2e-9 and share the outer bins


class RankHistogram:
    """Counts voxels of both classes by logit; `auc` is the area under the ROC curve, ties within a bin half."""

    def __init__(self) -> None:
        self.positive = torch.zeros(_BINS, dtype=torch.int64)
        self.negative = torch.zeros(_BINS, dtype=torch.int64)

    def add(self, logits: Tensor, inside: Tensor) -> None:
        """Count logits [*space] against a bool mask of their shape."""
        scaled = (logits.float().clamp(-_LARGEST, _LARGEST) + _LARGEST) / (2 * _LARGEST)
        bins = (scaled * _BINS).long().clamp(max=_BINS - 1)
        self.positive += torch.bincount(bins[inside], minlength=_BINS).cpu()
        self.negative += torch.bincount(bins[~inside], minlength=_BINS).cpu()

    @property
    def auc(self) -> float:
        """Probability that a voxel inside has the larger logit than one outside; 0.5 where one class is empty."""
        positives, negatives = int(self.positive.sum()), int(self.negative.sum())
        if not positives or not negatives:
            return 0.5
        below = self.negative.cumsum(0) - self.negative
        wins = (self.positive.double() * (below.double() + 0.5 * self.negative.double())).sum()
        return float(wins / (positives * negatives))
