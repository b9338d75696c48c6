"""One case judged: its masks read, and a row of figures for each structure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segfocal.errors import UserError
from segfocal.evaluate.pairing import CaseFiles
from segfocal.files import read_json
from segfocal.grid import Grid, Volume
from segfocal.io import nifti, volumes
from segfocal.io.nifti.probability_maps import open_maps
from segfocal.metrics import Counts, RankHistogram, SurfaceDistances, count, count_lesions

Row = dict[str, Any]
Status = Literal["ok", "missed", "false_alarm", "both_empty", "missing_prediction", "failed"]
STATUSES: tuple[Status, ...] = ("ok", "missed", "false_alarm", "both_empty", "missing_prediction", "failed")
GROUPS = ("overlap", "surface", "lesions")
DEFAULT = "default"  # in a table of tolerances: the structures it does not name


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure, alike for every case.

    labels: values by structure name, in prediction and reference; None takes those of the report beside the prediction,
    where a union's parts in the reference are told too, or every value found. ignore: the value of reference voxels
    that count for nothing. groups: of `GROUPS`; overlap is always measured. tolerance_mm: of NSD, one number or by
    structure with "default" for the others. lesion_overlap: as in `count_lesions`. ranked: areas under curves too, from
    probabilities; those of chance where a case without a prediction has none.
    """

    labels: Mapping[str, int] | None = None
    ignore: int | None = None
    groups: Sequence[str] = GROUPS
    tolerance_mm: float | Mapping[str, float] = 1.0
    lesion_overlap: float = 0.0
    ranked: bool = False

    def tolerance(self, structure: str) -> float:
        """Return the tolerance for a structure, in mm."""
        if isinstance(self.tolerance_mm, Mapping):
            return self.tolerance_mm.get(structure, self.tolerance_mm.get(DEFAULT, 1.0))
        return self.tolerance_mm


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The rows of a case for the prediction, and for the one it is compared with.

    unions: the values in the reference whose union a value of the prediction is.
    """

    files: CaseFiles
    rows: Sequence[Row]
    against: Sequence[Row]
    unions: Mapping[int, Sequence[int]] = field(default_factory=dict)


def judge(files: CaseFiles, settings: Settings, *, compared: bool) -> Judged:
    """Read the masks of a case and return a row for each structure.

    A prediction that is not there is scored as an empty mask, and where the reference is empty too as wrong.

    Raises:
        UserError: unreadable masks, masks on different grids, no structure to compare.
    """
    reference = _label_map(files.reference)
    masks = [
        _mask(path, files, reference)
        for path in ((files.prediction, files.against) if compared else (files.prediction,))
    ]
    ignored = None if settings.ignore is None else reference.array == settings.ignore
    if ignored is not None:
        masks = [None if mask is None else _without(mask, ignored) for mask in masks]
        reference = _without(reference, ignored)
    labels = _labels(files, settings, [reference, *(mask for mask in masks if mask is not None)])
    unions = _unions(files, settings, labels)
    reference = united(reference, unions)
    rows = [_rows(files.name, mask, reference, labels, settings) for mask in masks]
    if settings.ranked:
        histograms = _ranked(files, reference, labels, ignored)
        rows[0] = [_with_ranking(row, histograms[row["structure"]]) for row in rows[0]]
    return Judged(files=files, rows=rows[0], against=rows[1] if compared else (), unions=unions)


def judge_or_say(files: CaseFiles, settings: Settings, *, compared: bool) -> Judged:
    """As `judge`, but a case that cannot be judged becomes one row with status "failed" and the message."""
    try:
        return judge(files, settings, compared=compared)
    except (UserError, OSError) as error:
        failed = {"case": files.name, "structure": "", "status": "failed", "message": str(error)}
        return Judged(files=files, rows=[failed], against=[failed] if compared else ())


def report_beside(mask: Path | None) -> Row:
    """Return the JSON report that `predict` left beside a mask, or an empty one."""
    path = mask.with_name(volumes.stem(mask) + ".json") if mask else None
    report = read_json(path) if path and path.is_file() else {}
    return report if isinstance(report, dict) and "segfocal" in report else {}


def _without(labels: Volume, ignored: NDArray[np.bool_]) -> Volume:
    return Volume(array=np.where(ignored, 0, labels.array), grid=labels.grid)


def united(reference: Volume, unions: Mapping[int, Sequence[int]]) -> Volume:
    """Return a reference with the values of a prediction in which each is the union of some."""
    if not unions:
        return reference
    array = np.zeros(reference.array.shape, dtype=np.uint16)
    for value, parts in unions.items():
        array[np.isin(reference.array, parts)] = value
    return Volume(array=array, grid=reference.grid)


def _unions(files: CaseFiles, settings: Settings, labels: Mapping[str, int]) -> dict[int, list[int]]:
    """Return what the report beside a prediction says its values are made of; nothing where labels were given."""
    made = {} if settings.labels else report_beside(files.prediction).get("made_of", {})
    if not isinstance(made, dict) or not all(isinstance(parts, list) for parts in made.values()):
        return {}
    return {value: [int(part) for part in made.get(name, [value])] for name, value in labels.items()} if made else {}


def named_labels(labels: Any) -> dict[str, int]:
    """Return values ≥ 1 by name; UserError for anything else."""
    try:
        values = {str(name): int(value) for name, value in labels.items()}
        if any(value < 1 for value in values.values()):
            raise ValueError(labels)
        return values
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            expected="names with label values from 1", found=f"labels={labels}", do='write "labels={liver: 5}"'
        ) from error


def _label_map(path: Path) -> Volume:
    labels = volumes.read_labels(path)
    nifti.check_label_map(labels, path)
    return labels


def _mask(path: Path | None, files: CaseFiles, reference: Volume) -> Volume | None:
    if path is None:
        return None
    mask = _label_map(path)
    difference = reference.grid.difference(mask.grid)
    if difference:
        raise UserError(
            expected=f"a prediction on the grid of its reference {files.reference.name}",
            found=difference,
            where=path,
            do="resample one onto the other, or compare the right files",
        )
    return mask


def _labels(files: CaseFiles, settings: Settings, masks: Iterable[Volume]) -> dict[str, int]:
    chosen = settings.labels or report_beside(files.prediction).get("structures")
    if chosen:
        return named_labels(chosen)
    found = sorted({int(v) for mask in masks for v in np.unique(mask.array)} - {0})
    if not found:
        raise UserError(
            expected="a structure to compare",
            found="two empty masks and no report beside the prediction",
            where=files.prediction or files.reference,
            do="name one, as labels={liver: 5}",
        )
    return {f"label_{value}": value for value in found}


def _rows(
    case: str, mask: Volume | None, reference: Volume, labels: Mapping[str, int], settings: Settings
) -> list[Row]:
    empty = np.broadcast_to(np.uint8(0), reference.array.shape)
    array = empty if mask is None else mask.array
    boxes = [ndimage.find_objects(empty if a is empty else a) for a in (array, reference.array)]
    rows = []
    for name, value in labels.items():
        box = _joint([found[value - 1] for found in boxes if value <= len(found) and found[value - 1]])
        figures = _figures(array[box], reference.array[box], value, reference, settings, name)
        row = {"case": case, "structure": name, "label": value, **figures, "message": ""}
        rows.append(row if mask is not None else _missing(row, reference.grid))
    return rows


def _joint(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Return the smallest box that holds others; an empty one of none."""
    if not boxes:
        return (slice(0, 0),) * 3
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _figures(predicted: np.ndarray, true: np.ndarray, value: int, whole: Volume, settings: Settings, name: str) -> Row:
    """Return the figures of a structure from the box that holds it in both masks."""
    grid = whole.grid
    counts = count(predicted, true, value)
    counts = replace(counts, tn=counts.tn + math.prod(grid.shape) - predicted.size)
    voxel_ml = abs(float(np.linalg.det(grid.affine[:3, :3]))) / 1000
    row = counts.row()
    voxels = {key: row.pop(key) for key in ("tp", "fp", "fn", "tn")}
    row |= {
        "volume_difference_ml": counts.volume_difference_ml(voxel_ml),
        "relative_volume_difference": counts.relative_volume_difference,
        "reference_ml": (counts.tp + counts.fn) * voxel_ml,
        "prediction_ml": (counts.tp + counts.fp) * voxel_ml,
    }
    one, other = predicted == value, true == value
    if "surface" in settings.groups:
        distances = SurfaceDistances.between(one, other, grid.spacing_mm, volume_shape=grid.shape)
        tolerance = settings.tolerance(name)
        row |= {"hd_mm": distances.hd, "hd95_mm": distances.hd95, "assd_mm": distances.assd}
        row |= {"nsd": distances.nsd(tolerance), "tolerance_mm": tolerance}
    if "lesions" in settings.groups:
        lesions = count_lesions(one, other, overlap=settings.lesion_overlap)
        row |= {"lesion_f1": lesions.f1, "lesion_precision": lesions.precision, "lesion_recall": lesions.recall}
        row |= {"lesion_tp": lesions.tp, "lesion_fp": lesions.fp, "lesion_fn": lesions.fn}
    return {**row, **voxels, "status": _status(counts)}


def _status(counts: Counts) -> Status:
    there, found = counts.tp + counts.fn > 0, counts.tp + counts.fp > 0
    if there:
        return "ok" if found else "missed"
    return "false_alarm" if found else "both_empty"


def _missing(row: Row, grid: Grid) -> Row:
    """Return the row of an empty mask as that of a missing prediction: wrong even where there was nothing to find."""
    right = ("dice", "iou", "precision", "recall", "nsd", "lesion_f1", "lesion_precision", "lesion_recall")
    diagonal = float(np.linalg.norm(np.multiply(grid.shape, grid.spacing_mm)))
    wrong = dict.fromkeys(right, 0.0) | dict.fromkeys(("hd_mm", "hd95_mm", "assd_mm"), diagonal)
    return {**row, **{name: wrong[name] for name in wrong if name in row}, "status": "missing_prediction"}


def _ranked(
    files: CaseFiles, reference: Volume, labels: Mapping[str, int], ignored: NDArray[np.bool_] | None
) -> dict[str, RankHistogram]:
    """Return the histograms of the probabilities of each structure, read slab by slab."""
    import torch  # seconds to load, and only probabilities need it

    histograms = {name: RankHistogram() for name in labels}
    if files.probabilities is None:
        return histograms
    maps = open_maps(files.probabilities)
    difference = reference.grid.difference(maps.grid)
    if difference or maps.maps not in (len(labels), len(labels) + 1):
        raise UserError(
            expected=f"{len(labels)} probability maps on the reference's grid, one for each of {', '.join(labels)} (or "
            "one more, the first being the background)",
            found=difference or f"{maps.maps} maps",
            where=files.probabilities,
            do="write one map a structure along the fourth axis, and name the structures in their order with labels=",
        )
    background = maps.maps - len(labels)
    names = [None] * background + list(labels)
    for k, z, values in maps.slabs():
        name = names[k]
        if name is not None:
            inside = np.ascontiguousarray(reference.array[:, :, z] == labels[name])
            if ignored is not None:
                values, inside = values[~ignored[:, :, z]], inside[~ignored[:, :, z]]
            histograms[name].add_probabilities(torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(inside))
    return histograms


def _with_ranking(row: Row, histogram: RankHistogram) -> Row:
    """Return a row with the areas under the curves before its counts."""
    areas = {"roc_auc": histogram.auc, "pr_auc": histogram.average_precision}
    before = {key: row[key] for key in row if key not in ("tp", "fp", "fn", "tn", "status", "message")}
    return {**before, **areas, **row}
