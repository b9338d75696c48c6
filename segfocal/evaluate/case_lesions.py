"""The lesions of a structure in one case, one by one: where each lies, how large it is, and what it is matched with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segfocal.connected_components import Components
from segfocal.evaluate.case_metrics import CountedLesions
from segfocal.evaluate.options import EvaluationSettings
from segfocal.grid import Grid
from segfocal.metrics import ComponentOverlaps, axial_diameters, equivalent_diameter_mm, size_classes

MOST_LISTED = 1000  # lesions of a mask with a row: of a mask with more, which is noise, rows would fill the memory

Mask = Literal["reference", "prediction"]
LesionStatus = Literal["missed", "found", "false_positive", "touching", "matched"]


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A lesion of the reference or of the prediction; the fields are the columns of lesions.csv, in their order.

    Args:
        case: its name.
        structure: its name.
        mask: in which the lesion lies.
        lesion: its number in that mask and structure, 1 for the largest.
        status: "matched" one to one; else, of the reference, "found" by an overlap or "missed" and, of the prediction,
            "touching" a lesion or "false_positive".
        volume_ml: in ml.
        diameter_mm: of a ball of the same volume, in mm.
        longest_mm: longest axial diameter, in mm.
        short_mm: longest one at right angles to it in its slice, in mm.
        x_mm: centroid in the world's millimetres, to the patient's right; the next two to the front and to the head.
        y_mm: as `x_mm`.
        z_mm: as `x_mm`.
        mean_intensity: of the scan inside; None without a scan.
        max_intensity: the largest; None without a scan.
        matched: number of the lesion in the other mask that it is matched with; None without one.
        iou: with that lesion; without one the largest with any.
    """

    case: str
    structure: str
    mask: Mask
    lesion: int
    status: LesionStatus
    volume_ml: float
    diameter_mm: float
    longest_mm: float
    short_mm: float
    x_mm: float
    y_mm: float
    z_mm: float
    mean_intensity: float | None
    max_intensity: float | None
    matched: int | None
    iou: float

    def row(self) -> dict[str, Any]:
        """Return the columns of a table; empty where there is no value."""
        return {name: "" if value is None else value for name, value in self.__dict__.items()}


COLUMNS = tuple(field.name for field in fields(Lesion))


class SizeCount(NamedTuple):
    """Lesions of the reference in a class of size: all, those found by any overlap, those matched one to one."""

    lesions: int
    found: int
    matched: int


@dataclass(frozen=True, kw_only=True)
class StructureLesions:
    """The lesions of a structure in one case.

    Args:
        structure: its name.
        listed: those with a row, of the reference and then of the prediction, the largest first.
        sizes: how many lesions of the reference there are in each class of size.
        counts: of all lesions, by mask.
    """

    structure: str
    listed: Sequence[Lesion]
    sizes: Sequence[SizeCount]
    counts: dict[Mask, int]

    @property
    def crowded(self) -> dict[Mask, int]:
        """The masks that have more lesions than are listed, with their number."""
        return {mask: count for mask, count in self.counts.items() if count > MOST_LISTED}


@dataclass(frozen=True, kw_only=True, eq=False)
class Surroundings:
    """Where the lesions of a structure lie.

    Args:
        case: its name.
        structure: its name.
        grid: of the masks.
        corner: the voxel of that grid at which the cut with the lesions begins.
        scan: [x,y,z], the scan on that grid; None without one.
    """

    case: str
    structure: str
    grid: Grid
    corner: tuple[int, ...]
    scan: NDArray | None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Side:
    """The lesions of one of the two masks.

    Args:
        mask: which.
        components: of that mask.
        partners: [n] number of the component in the other mask that each is matched with; 0 without one.
        covered: [n] whether each overlaps the other mask by enough.
        iou: [n] with the partner, or the largest with any.
        words: the status without a partner, by whether it is covered.
    """

    mask: Mask
    components: Components
    partners: NDArray[np.int64]
    covered: NDArray[np.bool_]
    iou: NDArray[np.float64]
    words: tuple[LesionStatus, LesionStatus]


def structure_lesions(counted: CountedLesions, around: Surroundings, settings: EvaluationSettings) -> StructureLesions:
    """List the lesions of a structure, the largest `MOST_LISTED` of either mask, and count all by size."""
    overlaps, matching = counted.overlaps, counted.matching
    found = overlaps.found(settings.lesion_overlap)
    true = _Side(
        mask="reference",
        components=overlaps.true,
        partners=matching.predicted_of,
        covered=found,
        iou=np.where(matching.predicted_of > 0, matching.iou, _best(overlaps, 0)),
        words=("missed", "found"),
    )
    matched_iou = np.concatenate([[0.0], matching.iou])[matching.true_of]
    predicted = _Side(
        mask="prediction",
        components=overlaps.predicted,
        partners=matching.true_of,
        covered=overlaps.useful(settings.lesion_overlap),
        iou=np.where(matching.true_of > 0, matched_iou, _best(overlaps, 1)),
        words=("false_positive", "touching"),
    )
    volumes = overlaps.true.sizes * around.grid.voxel_mm3
    classes = size_classes(volumes, settings.lesion_edges, settings.lesion_size)
    kinds = (np.ones(len(found), bool), found, matching.predicted_of > 0)
    counts = [np.bincount(classes[kind], minlength=len(settings.lesion_edges) + 1).tolist() for kind in kinds]
    return StructureLesions(
        structure=around.structure,
        listed=[*_listed(true, predicted, around), *_listed(predicted, true, around)],
        sizes=[SizeCount(*of_class) for of_class in zip(*counts, strict=True)],
        counts={side.mask: len(side.components.sizes) for side in (true, predicted)},
    )


def _best(overlaps: ComponentOverlaps, column: int) -> NDArray[np.float64]:
    """Return the largest IoU of each component of the reference (column 0) or the prediction (1) with any other."""
    best = np.zeros(len((overlaps.true, overlaps.predicted)[column].sizes))
    np.maximum.at(best, overlaps.pairs[:, column] - 1, overlaps.iou)
    return best


def _ranks(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the components by falling size, and the rank of each from 1; equal ones keep their order."""
    order = np.argsort(-sizes, kind="stable")
    ranks = np.empty(len(sizes), np.int64)
    ranks[order] = np.arange(1, len(sizes) + 1)
    return order, ranks


def _listed(side: _Side, other: _Side, around: Surroundings) -> Iterator[Lesion]:
    """Yield the largest lesions of a mask."""
    if not len(side.components.sizes):
        return
    order, other_ranks = _ranks(side.components.sizes)[0], _ranks(other.components.sizes)[1]
    boxes = ndimage.find_objects(side.components.numbers)
    for rank, index in enumerate(order[:MOST_LISTED].tolist(), start=1):
        partner = int(side.partners[index])
        inside = side.components.numbers[boxes[index]] == index + 1
        yield Lesion(
            case=around.case,
            structure=around.structure,
            mask=side.mask,
            lesion=rank,
            status="matched" if partner else side.words[int(side.covered[index])],
            **_measures(inside, tuple(each.start for each in boxes[index]), around),
            matched=int(other_ranks[partner - 1]) if partner else None,
            iou=float(side.iou[index]),
        )


def _measures(inside: NDArray[np.bool_], start: tuple[int, ...], around: Surroundings) -> dict[str, Any]:
    """Return what is measured of a lesion alone, by column.

    Args:
        inside: [x,y,z], the lesion in its box.
        start: where the box begins in the cut.
        around: where the cut begins, and what it was cut from.
    """
    corner = np.array(around.corner) + start
    voxels = np.argwhere(inside)
    volume_mm3 = len(voxels) * around.grid.voxel_mm3
    longest, short = axial_diameters(inside, around.grid)
    centre = around.grid.affine[:3, :3] @ (voxels.mean(0) + corner) + around.grid.affine[:3, 3]
    values = None
    if around.scan is not None:
        box = tuple(slice(at, at + size) for at, size in zip(corner.tolist(), inside.shape, strict=True))
        values = around.scan[box][inside]
    return {
        "volume_ml": volume_mm3 / 1000,
        "diameter_mm": float(equivalent_diameter_mm(volume_mm3)),
        "longest_mm": longest,
        "short_mm": short,
        **dict(zip(("x_mm", "y_mm", "z_mm"), centre.tolist(), strict=True)),
        "mean_intensity": None if values is None else float(values.mean(dtype=np.float64)),
        "max_intensity": None if values is None else float(values.max()),
    }
