"""Figures of a prediction against a reference: overlap, distance between surfaces, and how well logits rank voxels."""

from segfocal.metrics.overlap import Counts, count
from segfocal.metrics.ranking import RankHistogram
from segfocal.metrics.surface import hausdorff95

__all__ = ["Counts", "RankHistogram", "count", "hausdorff95"]
