"""The contours of a DICOM structure set (RTSTRUCT), filled on the slices of an image.

A voxel is inside where its centre is: see `outlines.py` for holes and for what is drawn twice. A contour that encloses
nothing is passed over, counted and named in a warning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError, UserNote, warn
from segfocal.grid import Grid
from segfocal.io.dicom.file_bytes import check_lengths
from segfocal.io.dicom.file_kinds import header, readable
from segfocal.io.dicom.outlines import filled, once
from segfocal.io.dicom.series import TO_RAS
from segfocal.io.dicom.slices import text_of
from segfocal.io.dicom.structure_boxes import Box

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "INTERPOLATED_PLANAR")
_EXCLUSIVE = "CLOSEDPLANAR_XOR"
_FLAT, _OFF = 0.2, 0.25  # of a slice's thickness: by which a contour may leave its plane, and that plane its slice's
_FAR_MM = 1e9  # no scanner is so large
_THIN = 1e-3  # of a voxel: points that leave a line by less enclose nothing


class NotFilled(Enum):
    """Why a contour encloses nothing."""

    POINT = "of the kind POINT"
    OPEN = "of an open kind (OPEN_PLANAR, OPEN_NONPLANAR)"
    UNKNOWN = "of an unknown kind or of none"
    NO_POINTS = "without ContourData"
    NO_NUMBERS = "with coordinates that are no numbers of mm"
    NOT_THREE = "whose coordinates are not three a point"
    OTHER_COUNT = "of another number of points than NumberOfContourPoints says"
    FEW = "of fewer than three points"
    LINE = "of points on one line"
    OUTSIDE = "wholly outside of the image"


class ContoursPassedOver(UserNote):
    """Contours that were not read: of which ROI and file, how many, and why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Contour:
    """A closed contour: its points [n,3] in voxels; exclusive: it takes away where it crosses others (XOR)."""

    voxels: NDArray
    exclusive: bool


def rois(elements: Any) -> dict[int, str]:
    """Return the names of the ROIs that have a closed contour, by number."""
    with_contour = {int(one.ReferencedROINumber) for one in elements.get("ROIContourSequence") or [] if _closed(one)}
    found = {
        int(one.ROINumber): text_of(one, "ROIName") or f"roi_{one.ROINumber}"
        for one in elements.get("StructureSetROISequence") or []
    }
    return {number: name for number, name in found.items() if number in with_contour}


def _closed(roi: Any) -> bool:
    return any(_kind(one) in _CLOSED for one in roi.get("ContourSequence") or [])


def _kind(contour: Any) -> str:
    return text_of(contour, "ContourGeometricType").upper()


def boxes(path: Path, grid: Grid, wanted: set[int]) -> Iterator[tuple[int, Box]]:
    """Yield number and voxels of the wanted ROIs, slice by slice; warn of contours that are passed over.

    Raises:
        UserError: damage, contours that do not lie in slices of `grid`, or outside of it.
    """
    elements = header(path, tags=["ROIContourSequence"])
    with readable(path):
        check_lengths(elements, path, inside=("ROIContourSequence",))
    for roi in elements.get("ROIContourSequence") or []:
        with readable(path):
            number = int(roi.ReferencedROINumber)
            contours = list(roi.get("ContourSequence") or [])
        if number not in wanted:
            continue
        on_slices: dict[tuple[int, int], list[_Contour]] = {}
        passed_over: Counter[NotFilled] = Counter()
        for one in contours:
            with readable(path):
                found = _contour(one, grid)
            if isinstance(found, NotFilled):
                passed_over[found] += 1
                continue
            place = _slice_of(found.voxels, grid, path, number)
            if _beside(found.voxels, place[0], grid):
                passed_over[NotFilled.OUTSIDE] += 1
            else:
                on_slices.setdefault(place, []).append(found)
        _warn(passed_over, number, path)
        for (axis, index), drawn in on_slices.items():
            box = _filled(drawn, axis, index, grid)
            if box is not None:
                yield number, box


def _contour(element: Any, grid: Grid) -> _Contour | NotFilled:
    """Return a contour in voxels of a grid, or why it is none."""
    kind = _kind(element)
    if kind not in _CLOSED:
        return NotFilled.POINT if kind == "POINT" else NotFilled.OPEN if "OPEN" in kind else NotFilled.UNKNOWN
    try:
        given = element.get("ContourData")
        numbers = np.array([] if given in (None, "") else given, dtype=np.float64).ravel()
        count = int(element.get("NumberOfContourPoints") or 0)
    except (ValueError, TypeError, OverflowError):  # text that is no number
        return NotFilled.NO_NUMBERS
    reason = _reason(numbers, count)
    if reason is not None:
        return reason
    inverse = np.linalg.inv(grid.affine) @ TO_RAS
    voxels = once(numbers.reshape(-1, 3) @ inverse[:3, :3].T + inverse[:3, 3])
    if len(voxels) < 3 or np.linalg.svd(voxels - voxels.mean(0), compute_uv=False)[1] < _THIN:
        return NotFilled.LINE
    return _Contour(voxels=voxels, exclusive=kind == _EXCLUSIVE)


def _reason(numbers: NDArray, count: int) -> NotFilled | None:
    """Return why coordinates are no polygon; None of those that may be one. count: of points, 0 where not said."""
    if not numbers.size:
        return NotFilled.NO_POINTS
    if not np.abs(numbers).max() < _FAR_MM:
        return NotFilled.NO_NUMBERS
    if numbers.size % 3:
        return NotFilled.NOT_THREE
    if count and count != numbers.size // 3:
        return NotFilled.OTHER_COUNT
    return NotFilled.FEW if numbers.size < 9 else None


def _warn(passed_over: Counter[NotFilled], number: int, path: Path) -> None:
    if passed_over:
        listed = ", ".join(f"{count} {reason.value}" for reason, count in passed_over.items())
        message = f"{passed_over.total()} contours of ROI number {number} are passed over in {path}: {listed}"
        warn(message, ContoursPassedOver, stacklevel=2)


def _slice_of(voxels: NDArray, grid: Grid, path: Path, number: int) -> tuple[int, int]:
    """Return the axis and the index of the slice that a contour [n,3] lies in."""
    normal = np.linalg.svd(voxels - voxels.mean(0), full_matrices=False)[2][2]
    axis = int(np.abs(normal).argmax())
    spread, height = float(np.ptp(voxels[:, axis])), float(voxels[:, axis].mean())
    index = round(height)
    if spread > _FLAT or abs(height - index) > _OFF:
        problem = "one across slices" if spread > _FLAT else f"one at slice {height:.2f}, between two"
    elif not 0 <= index < grid.shape[axis]:
        problem = f"one at slice {index} of 0 to {grid.shape[axis] - 1}"
    else:
        return axis, index
    raise UserError(
        expected="contours in the slices of the image",
        found=f"{problem} (ROI number {number})",
        where=path,
        do="pair them with the series they were drawn on",
    )


def _beside(voxels: NDArray, axis: int, grid: Grid) -> bool:
    """Return whether a contour lies beside the voxels of its slice."""
    flat = [i for i in range(3) if i != axis]
    low, high = voxels[:, flat].min(0), voxels[:, flat].max(0)
    return bool((high < -0.5).any() or (low > np.array(grid.shape)[flat] - 0.5).any())


def _filled(contours: list[_Contour], axis: int, index: int, grid: Grid) -> Box | None:
    """Return the voxels of a slice that its contours cover; None where there are none."""
    flat = [i for i in range(3) if i != axis]
    outlines = [contour.voxels[:, flat] for contour in contours]
    points, size = np.concatenate(outlines), [grid.shape[i] for i in flat]
    low = np.clip(np.ceil(points.min(0)), 0, size).astype(int)
    high = np.clip(np.floor(points.max(0)) + 1, 0, size).astype(int)
    if (low >= high).any():
        return None
    shape = (int(high[0] - low[0]), int(high[1] - low[1]))
    exclusive = any(contour.exclusive for contour in contours)
    inside = filled([outline - low for outline in outlines], shape, exclusive=exclusive)
    place = [slice(index, index + 1)] * 3
    for i, start, stop in zip(flat, low, high, strict=True):
        place[i] = slice(int(start), int(stop))
    return (place[0], place[1], place[2]), np.expand_dims(inside, axis)
