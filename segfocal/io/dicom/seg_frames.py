"""The frames of a DICOM segmentation, laid on the voxels of an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.grid import Grid
from segfocal.io.dicom.file_bytes import check_lengths
from segfocal.io.dicom.file_kinds import extra, readable, whole
from segfocal.io.dicom.series import affine_of
from segfocal.io.dicom.slices import Slice, slices_of
from segfocal.io.dicom.structure_boxes import Box

_OFF = 0.1  # of a voxel by which a frame's corner may miss the centre of one
_HALF = 0.5  # of the largest fraction: inside from there


def boxes(path: Path, grid: Grid, wanted: set[int]) -> Iterator[tuple[int, Box]]:
    """Yield number and voxels of the wanted segments, frame by frame.

    Raises:
        UserError: damage, frames without a place, off the voxels of `grid`, or outside of it.
    """
    elements = whole(path)
    with readable(path):
        check_lengths(elements, path, inside=("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"))
        groups = list(elements.get("PerFrameFunctionalGroupsSequence") or [])
        kind = str(elements.get("SegmentationType") or "")
        share = _HALF * int(elements.get("MaximumFractionalValue") or 1) if kind == "FRACTIONAL" else None
    slices = slices_of(elements, path)
    for index, frame in enumerate(_frames(elements, path)):
        if kind == "LABELMAP":
            found = [(int(value), frame == value) for value in np.unique(frame) if int(value) in wanted]
        else:
            number = _number(groups, elements, index, path)
            found = [(number, frame >= share if share else frame > 0)] if number in wanted else []
        for number, inside in found:
            if inside.any():
                yield number, _placed(inside, slices[index], grid)


def _frames(elements: Any, path: Path) -> Iterator[NDArray]:
    with readable(path):
        packed = int(elements.BitsAllocated) == 1 and not elements.file_meta.TransferSyntaxUID.is_encapsulated
        frames = _unpacked(elements) if packed else extra("pydicom.pixels").iter_pixels(elements)
    while True:
        with readable(path):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def _unpacked(elements: Any) -> Iterator[NDArray]:
    """Yield frames of one bit a pixel. They follow on each other inside bytes, which pydicom 3.0's frames do not."""
    rows, columns, data = int(elements.Rows), int(elements.Columns), np.frombuffer(elements.PixelData, np.uint8)
    size, count = rows * columns, int(elements.get("NumberOfFrames") or 1)
    if len(data) * 8 < size * count:
        raise ValueError(f"{len(data)} bytes of pixels where {count} frames take {-(-size * count // 8)}")
    for first in range(0, size * count, size):
        part = np.unpackbits(data[first // 8 : -(-(first + size) // 8)], bitorder="little")
        yield part[first % 8 : first % 8 + size].reshape(rows, columns)


def _number(groups: list[Any], elements: Any, index: int, path: Path) -> int:
    """Return the segment that a frame belongs to."""
    with readable(path):
        shared = elements.get("SharedFunctionalGroupsSequence") or [{}]
        found = groups[index].get("SegmentIdentificationSequence") or shared[0].get("SegmentIdentificationSequence")
        return int(found[0].ReferencedSegmentNumber)


def _placed(inside: NDArray[np.bool_], frame: Slice, grid: Grid) -> Box:
    """Return the box of an image's voxels that the true pixels [row,column] of a frame fill."""
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    low, high = np.array([columns[0], rows[0], 0]), np.array([columns[-1], rows[-1], 0])
    move = np.linalg.inv(grid.affine) @ affine_of(frame, frame.normal)
    ends = np.stack([low, high]) @ move[:3, :3].T + move[:3, 3]  # [2,3] in voxels of the image
    turn = np.rint(move[:3, :2])
    one_to_one = (np.abs(turn).sum(0) == 1).all() and (np.abs(turn).sum(1) <= 1).all()
    if not one_to_one or np.abs(ends - np.rint(ends)).max() > _OFF or np.abs(move[:3, :2] - turn).max() > _OFF:
        raise UserError(
            expected="a segmentation on the voxels of its image",
            found=f"frame {frame.frame + 1} between them, of {frame.spacing_mm[0]:.4g}×{frame.spacing_mm[1]:.4g} mm",
            where=frame.path,
            do="pair it with the series it was drawn on, or resample it and save it as NIfTI",
        )
    ends = np.rint(ends).astype(int)
    start, stop = ends.min(0), ends.max(0) + 1
    if (start < 0).any() or (stop > np.array(grid.shape)).any():
        raise UserError(
            expected="a segmentation inside its image",
            found=f"frame {frame.frame + 1} at voxels {start.tolist()} to {(stop - 1).tolist()} of {grid.shape}",
            where=frame.path,
            do="pair it with the series it was drawn on",
        )
    cut = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].T  # [column,row]
    across, along = (int(np.abs(turn[:, axis]).argmax()) for axis in (0, 1))
    cut = cut[:: int(turn[across, 0]), :: int(turn[along, 1])]
    box = np.expand_dims(cut if across < along else cut.T, 3 - across - along)
    return (slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2])), np.ascontiguousarray(box)
