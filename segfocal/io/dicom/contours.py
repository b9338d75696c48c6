"""The contours of a DICOM structure set (RTSTRUCT), filled on the slices of an image.

A voxel is inside where its centre is inside an odd number of an ROI's contours on its slice: a contour in another one
is a hole (the even-odd rule).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.grid import Grid
from segfocal.io.dicom.file_kinds import header, readable
from segfocal.io.dicom.series import TO_RAS
from segfocal.io.dicom.slices import text_of
from segfocal.io.dicom.structure_boxes import Box

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FLAT, _OFF = 0.2, 0.25  # of a slice's thickness: by which a contour may leave its plane, and that plane its slice's


def rois(elements: Any) -> dict[int, str]:
    """Return the names of the ROIs that have a closed contour, by number."""
    with_contour = {int(one.ReferencedROINumber) for one in elements.get("ROIContourSequence") or [] if _closed(one)}
    found = {
        int(one.ROINumber): text_of(one, "ROIName") or f"roi_{one.ROINumber}"
        for one in elements.get("StructureSetROISequence") or []
    }
    return {number: name for number, name in found.items() if number in with_contour}


def _closed(roi: Any) -> list[Any]:
    return [one for one in roi.get("ContourSequence") or [] if text_of(one, "ContourGeometricType") in _CLOSED]


def boxes(path: Path, grid: Grid, wanted: set[int]) -> Iterator[tuple[int, Box]]:
    """Yield number and voxels of the wanted ROIs, slice by slice.

    Raises:
        UserError: damage, contours that do not lie in slices of `grid`, or outside of it.
    """
    elements = header(path, tags=["ROIContourSequence"])
    inverse = np.linalg.inv(grid.affine) @ TO_RAS
    for roi in elements.get("ROIContourSequence") or []:
        with readable(path):
            number = int(roi.ReferencedROINumber)
            outlines = [np.array(one.ContourData, dtype=np.float64).reshape(-1, 3) for one in _closed(roi)]
        if number not in wanted:
            continue
        on_slices: dict[tuple[int, int], list[NDArray]] = {}
        for points in outlines:
            voxels = points @ inverse[:3, :3].T + inverse[:3, 3]
            if len(voxels) > 2:
                on_slices.setdefault(_slice_of(voxels, grid, path, number), []).append(voxels)
        for (axis, index), contours in on_slices.items():
            box = _filled(contours, axis, index, grid)
            if box is not None:
                yield number, box


def _slice_of(voxels: NDArray, grid: Grid, path: Path, number: int) -> tuple[int, int]:
    """Return the axis and the index of the slice that a contour [n,3] lies in."""
    spread = np.ptp(voxels, axis=0)
    axis = int(spread.argmin())
    height = float(voxels[:, axis].mean())
    index = round(height)
    if spread[axis] > _FLAT or abs(height - index) > _OFF:
        problem = "one across slices" if spread[axis] > _FLAT else f"one at slice {height:.2f}, between two"
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


def _filled(contours: list[NDArray], axis: int, index: int, grid: Grid) -> Box | None:
    """Return the voxels of a slice with their centre inside an odd number of contours; None where there are none."""
    flat = [i for i in range(3) if i != axis]
    outlines = list({contour[:, flat].tobytes(): contour[:, flat] for contour in contours}.values())  # each once
    points = np.concatenate(outlines)
    low = np.maximum(np.ceil(points.min(0)), 0).astype(int)
    high = np.minimum(np.floor(points.max(0)) + 1, [grid.shape[i] for i in flat]).astype(int)
    if (low >= high).any():
        return None
    inside = inside_of([outline - low for outline in outlines], (int(high[0] - low[0]), int(high[1] - low[1])))
    place = [slice(index, index + 1)] * 3
    for i, start, stop in zip(flat, low, high, strict=True):
        place[i] = slice(int(start), int(stop))
    return (place[0], place[1], place[2]), np.expand_dims(inside, axis)


def inside_of(outlines: Sequence[NDArray], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which points (i,j) of a lattice lie inside an odd number of polygons [n,2].

    Where an edge crosses the line of a j, all points from there on change sides. Of points on an edge those on a
    polygon's lower sides are inside. A hundred times faster than asking matplotlib's Path about each point, and unlike
    Pillow's drawing true to fractions of a voxel.
    """
    changes = np.zeros((shape[0] + 1, shape[1]), dtype=np.int32)
    for outline in outlines:
        start, stop = outline, np.roll(outline, -1, axis=0)
        first, last = (np.ceil(end(start[:, 1], stop[:, 1])).astype(int) for end in (np.minimum, np.maximum))
        counts = last - first
        edge = np.repeat(np.arange(len(outline)), counts)
        j = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
        (x0, y0), (x1, y1) = start[edge].T, stop[edge].T
        crossed = np.ceil(x0 + (j - y0) * (x1 - x0) / (y1 - y0))
        i = np.clip(crossed, 0, shape[0]).astype(int)
        seen = (j >= 0) & (j < shape[1])
        np.add.at(changes, (i[seen], j[seen]), 1)
    return np.cumsum(changes, axis=0)[:-1] % 2 == 1
