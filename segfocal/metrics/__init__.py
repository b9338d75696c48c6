"""Figures of a prediction against a reference: overlap, surface distance, ranking of voxels, and how sure a mean is."""

from segfocal.metrics.bootstrap import Interval, bootstrap_mean
from segfocal.metrics.overlap import Counts, count
from segfocal.metrics.ranking import RankHistogram
from segfocal.metrics.surface import hausdorff95

__all__ = ["Counts", "Interval", "RankHistogram", "bootstrap_mean", "count", "hausdorff95"]
