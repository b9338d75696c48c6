"""Metrics of a prediction by its reference: Dice, surface distances, lesions, AUC, FROC; intervals and tests of means.

Start with `dice.py`; HD95 is in `surface_distances.py`, what lesions have in common in `components_matching.py`.
"""

from typing import Any

from segfocal.metrics.auc import RankHistogram
from segfocal.metrics.bootstrap import Interval, bootstrap_mean, bootstrap_ratio
from segfocal.metrics.cc_dice import cc_dice_of, component_dice
from segfocal.metrics.components_matching import ComponentOverlaps, Matching, match_components
from segfocal.metrics.detection import Detections
from segfocal.metrics.diameters import Diameters, axial_diameters, slice_diameters
from segfocal.metrics.dice import Counts, count
from segfocal.metrics.froc import Candidates, Froc, froc_curve
from segfocal.metrics.lesion_sizes import class_names, equivalent_diameter_mm, size_classes
from segfocal.metrics.lesions import count_lesions
from segfocal.metrics.paired import PairedDifference, compare_pairs, holm
from segfocal.metrics.panoptic import PanopticQuality, panoptic_quality
from segfocal.metrics.surface_distances import SurfaceDistances, diagonal_mm, hausdorff95

__all__ = [
    "Candidates",
    "ComponentOverlaps",
    "Counts",
    "Detections",
    "Diameters",
    "Froc",
    "Interval",
    "Matching",
    "PairedDifference",
    "PanopticQuality",
    "RankHistogram",
    "SurfaceDistances",
    "axial_diameters",
    "bootstrap_mean",
    "bootstrap_ratio",
    "cc_dice_of",
    "class_names",
    "compare_pairs",
    "component_dice",
    "count",
    "count_lesions",
    "diagonal_mm",
    "equivalent_diameter_mm",
    "evaluate",
    "froc_curve",
    "hausdorff95",
    "holm",
    "match_components",
    "panoptic_quality",
    "size_classes",
    "slice_diameters",
]


def evaluate(prediction: Any, reference: Any, **options: Any) -> list[dict[str, Any]]:
    """Return the metrics of a mask by its reference; the options are those of `segfocal.interface.evaluation.evaluate`.

    It stands here for users of `segfocal.metrics`. It reads files, which this room cannot, so it is fetched by name.
    """
    from importlib import import_module

    rows: list[dict[str, Any]] = import_module("segfocal.interface.evaluation").evaluate(
        prediction, reference, **options
    )
    return rows
