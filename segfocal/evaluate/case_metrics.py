"""The metrics of one case: a record for each structure, measured from a pair of masks on one grid.

What each metric means, and what it is for empty masks, stands in `segfocal/metrics/`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segfocal.evaluate.options import EvaluationSettings
from segfocal.grid import Grid, Volume
from segfocal.metrics import (
    ComponentOverlaps,
    Counts,
    Matching,
    SurfaceDistances,
    cc_dice_of,
    count,
    diagonal_mm,
    match_components,
    panoptic_quality,
)

Status = Literal["ok", "missed", "false_alarm", "both_empty", "missing_prediction", "nowhere"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, kw_only=True)
class CaseMetrics:
    """The metrics of one structure of one case; the fields are the columns of metrics.csv, in their order.

    Args:
        case: its name.
        structure: its name.
        label: its value in both masks.
        dice: overlap in [0,1].
        iou: intersection over union in [0,1].
        precision: share in [0,1] of the predicted voxels that are right.
        recall: share in [0,1] of the reference's voxels that were found.
        specificity: share in [0,1] of the voxels outside the reference that were left out.
        accuracy: share in [0,1] of all voxels that are right.
        volume_difference_ml: predicted minus reference volume, in ml.
        relative_volume_difference: the same over the reference's volume.
        reference_ml: volume of the reference, in ml.
        prediction_ml: volume of the prediction, in ml.
        hd_mm: Hausdorff distance in mm; None, as the next four, unless surfaces are measured.
        hd95_mm: its 95th percentile, in mm.
        assd_mm: average symmetric surface distance, in mm.
        nsd: normalised surface distance, a share in [0,1] of both surfaces.
        tolerance_mm: the distance in mm that `nsd` accepts.
        lesion_f1: in [0,1]; None, as the next 14, unless lesions are counted.
        lesion_precision: share in [0,1] of the predicted lesions that are right.
        lesion_recall: share in [0,1] of the reference's lesions that were found.
        lesion_tp: lesions found.
        lesion_fp: lesions predicted where there is none.
        lesion_fn: lesions missed.
        cc_dice: mean Dice in [0,1] of the reference's lesions, each where it is the nearest.
        pq: panoptic quality in [0,1], sq · rq, of lesions matched one to one.
        sq: mean IoU in [0,1] of the matched.
        rq: F1 in [0,1] of the matched.
        matched_precision: share in [0,1] of the predicted lesions that are matched.
        matched_recall: share in [0,1] of the reference's lesions that are matched.
        matched_tp: lesions matched.
        matched_fp: predicted lesions without a match.
        matched_fn: the reference's lesions without a match.
        roc_auc: area under the ROC curve in [0,1]; None, as the next one, without probability maps.
        pr_auc: area under the precision-recall curve in [0,1].
        tp: voxels in both masks.
        fp: voxels in the prediction only.
        fn: voxels in the reference only.
        tn: voxels in neither.
        status: which of the two masks holds the structure; "nowhere": no mask of any case does, so no mean counts it.
        message: what was taken for right in reading the masks; of a case that could not be judged the error.
    """

    case: str
    structure: str
    label: int
    dice: float
    iou: float
    precision: float
    recall: float
    specificity: float
    accuracy: float
    volume_difference_ml: float
    relative_volume_difference: float
    reference_ml: float
    prediction_ml: float
    hd_mm: float | None = None
    hd95_mm: float | None = None
    assd_mm: float | None = None
    nsd: float | None = None
    tolerance_mm: float | None = None
    lesion_f1: float | None = None
    lesion_precision: float | None = None
    lesion_recall: float | None = None
    lesion_tp: int | None = None
    lesion_fp: int | None = None
    lesion_fn: int | None = None
    cc_dice: float | None = None
    pq: float | None = None
    sq: float | None = None
    rq: float | None = None
    matched_precision: float | None = None
    matched_recall: float | None = None
    matched_tp: int | None = None
    matched_fp: int | None = None
    matched_fn: int | None = None
    roc_auc: float | None = None
    pr_auc: float | None = None
    tp: int
    fp: int
    fn: int
    tn: int
    status: Status
    message: str = ""

    def row(self) -> dict[str, Any]:
        """Return the columns of a table, without those that were not measured."""
        return {name: value for name, value in self.__dict__.items() if value is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class CountedLesions:
    """The lesions of a structure in both masks, cut to the box that holds them.

    Args:
        corner: the voxel at which the box begins.
        overlaps: of the components inside.
        matching: of those, one to one.
    """

    corner: tuple[int, ...]
    overlaps: ComponentOverlaps
    matching: Matching


def case_metrics(
    case: str,
    prediction: Volume | None,
    reference: Volume,
    labels: Mapping[str, int],
    settings: EvaluationSettings,
) -> list[CaseMetrics]:
    """Measure each structure of a case; the arguments are those of `measured_structures`."""
    return [metrics for metrics, _ in measured_structures(case, prediction, reference, labels, settings)]


def measured_structures(
    case: str,
    prediction: Volume | None,
    reference: Volume,
    labels: Mapping[str, int],
    settings: EvaluationSettings,
) -> Iterator[tuple[CaseMetrics, CountedLesions | None]]:
    """Measure the structures of a case one after the other, and yield their lesions where those are counted.

    A missing prediction is scored as an empty mask, and as wrong even where the reference is empty too.

    Args:
        case: its name.
        prediction: label map [x,y,z] on the reference's grid; None for a missing one.
        reference: the true label map [x,y,z].
        labels: label values by structure name.
        settings: what to measure.
    """
    grid = reference.grid
    empty = np.broadcast_to(np.uint8(0), reference.array.shape)
    array = empty if prediction is None else prediction.array
    boxes = [ndimage.find_objects(empty if a is empty else a) for a in (array, reference.array)]
    for name, value in labels.items():
        box = _joint([found[value - 1] for found in boxes if value <= len(found) and found[value - 1]])
        predicted, true = array[box] == value, reference.array[box] == value
        metrics = _measured(case, name, value, predicted, true, grid, settings)
        lesions = None
        if "lesions" in settings.groups:
            overlaps = ComponentOverlaps.between(predicted, true)
            matching = match_components(overlaps, threshold=settings.lesion_iou)
            lesions = CountedLesions(corner=tuple(each.start for each in box), overlaps=overlaps, matching=matching)
            metrics = _with_lesions(metrics, lesions, grid, settings)
        yield metrics if prediction is not None else _missing(metrics, grid), lesions


def _joint(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Return the smallest box that holds others; an empty one of none."""
    if not boxes:
        return (slice(0, 0),) * 3
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _measured(
    case: str,
    structure: str,
    value: int,
    predicted: NDArray[np.bool_],
    true: NDArray[np.bool_],
    grid: Grid,
    settings: EvaluationSettings,
) -> CaseMetrics:
    """Return the metrics of a structure from the box of `grid` that holds it in both masks."""
    counts = count(predicted, true, True)
    counts = replace(counts, tn=counts.tn + math.prod(grid.shape) - predicted.size)  # those outside the box too
    metrics = _of_voxels(case, structure, value, counts, grid)
    if "surface" in settings.groups:
        distances = SurfaceDistances.between(predicted, true, grid.steps_mm, volume_shape=grid.shape)
        metrics = _with_surface(metrics, distances, settings.tolerance(structure))
    return metrics


def _of_voxels(case: str, structure: str, value: int, counts: Counts, grid: Grid) -> CaseMetrics:
    voxel_ml = grid.voxel_mm3 / 1000
    return CaseMetrics(
        case=case,
        structure=structure,
        label=value,
        dice=counts.dice,
        iou=counts.iou,
        precision=counts.precision,
        recall=counts.recall,
        specificity=counts.specificity,
        accuracy=counts.accuracy,
        volume_difference_ml=counts.volume_difference_ml(voxel_ml),
        relative_volume_difference=counts.relative_volume_difference,
        reference_ml=(counts.tp + counts.fn) * voxel_ml,
        prediction_ml=(counts.tp + counts.fp) * voxel_ml,
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        tn=counts.tn,
        status=_status(counts),
    )


def _status(counts: Counts) -> Status:
    there, found = counts.tp + counts.fn > 0, counts.tp + counts.fp > 0
    if there:
        return "ok" if found else "missed"
    return "false_alarm" if found else "both_empty"


def _with_surface(metrics: CaseMetrics, distances: SurfaceDistances, tolerance_mm: float) -> CaseMetrics:
    return replace(
        metrics,
        hd_mm=distances.hd,
        hd95_mm=distances.hd95,
        assd_mm=distances.assd,
        nsd=distances.nsd(tolerance_mm),
        tolerance_mm=tolerance_mm,
    )


def _with_lesions(
    metrics: CaseMetrics, counted: CountedLesions, grid: Grid, settings: EvaluationSettings
) -> CaseMetrics:
    lesions = counted.overlaps.detections(settings.lesion_overlap)
    matched, quality = counted.matching.detections, panoptic_quality(counted.matching)
    return replace(
        metrics,
        lesion_f1=lesions.f1,
        lesion_precision=lesions.precision,
        lesion_recall=lesions.recall,
        lesion_tp=lesions.tp,
        lesion_fp=lesions.fp,
        lesion_fn=lesions.fn,
        cc_dice=cc_dice_of(counted.overlaps, grid.steps_mm),
        pq=quality.pq,
        sq=quality.sq,
        rq=quality.rq,
        matched_precision=matched.precision,
        matched_recall=matched.recall,
        matched_tp=matched.tp,
        matched_fp=matched.fp,
        matched_fn=matched.fn,
    )


def _missing(metrics: CaseMetrics, grid: Grid) -> CaseMetrics:
    """Return the metrics of an empty mask as those of a missing prediction: wrong even where both masks are empty."""
    metrics = replace(metrics, dice=0.0, iou=0.0, precision=0.0, recall=0.0, status="missing_prediction")
    if metrics.nsd is not None:
        diagonal = diagonal_mm(grid.shape, grid.steps_mm)
        metrics = replace(metrics, hd_mm=diagonal, hd95_mm=diagonal, assd_mm=diagonal, nsd=0.0)
    if metrics.lesion_f1 is not None:
        metrics = replace(metrics, lesion_f1=0.0, lesion_precision=0.0, lesion_recall=0.0, cc_dice=0.0, pq=0.0, sq=0.0)
        metrics = replace(metrics, rq=0.0, matched_precision=0.0, matched_recall=0.0)
    return metrics
