"""Metrics of a prediction by its reference: Dice, surface distances (HD95), lesions, AUC; intervals and tests of means.

Start with `dice.py`; HD95 is in `surface_distances.py`.
"""

from segfocal.metrics.auc import RankHistogram
from segfocal.metrics.bootstrap import Interval, bootstrap_mean
from segfocal.metrics.detection import Detections
from segfocal.metrics.dice import Counts, count
from segfocal.metrics.lesions import count_lesions
from segfocal.metrics.paired import PairedDifference, compare_pairs, holm
from segfocal.metrics.surface_distances import SurfaceDistances, diagonal_mm, hausdorff95

__all__ = [
    "Counts",
    "Detections",
    "Interval",
    "PairedDifference",
    "RankHistogram",
    "SurfaceDistances",
    "bootstrap_mean",
    "compare_pairs",
    "count",
    "count_lesions",
    "diagonal_mm",
    "hausdorff95",
    "holm",
]
