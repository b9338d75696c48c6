"""Where an array lies in the body that a viewer sends with a spacing and without an orientation.

Viewers send slices first: 3D Slicer [k,j,i], napari mostly [z,y,x]. Where the axes point to is said by the sender,
or by whoever began the server, or taken from the spacing by one rule (`taken_frame`). World positions are then those of
that guess: they place prompts and slices rightly, whatever the patient's own were.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Grid, Volume, check_frame
from segfocal.serve import drawn

AXIAL = "SPL"  # slices from the feet up, rows to the back, columns to the patient's left: an axial series of DICOM
COARSER = 1.5  # times the spacing of both other axes, from which on an axis is that of the slices
_ROWS_COLUMNS = {0: (1, 2), 1: (0, 2), 2: (1, 0)}  # which axes are rows and columns, by that of the slices
_DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


def taken_frame(shape: Sequence[int], spacing_mm: Sequence[float], frame: str) -> str:
    """Return where the axes of an array are taken to point to, as three letters.

    The only axis of one voxel, else one at least 1.5 times as coarse as both others, is that of the slices: the model's
    slices then run along it, its rows and columns along the two others in their order (in reverse where the last axis
    is the coarse one: such arrays are [x,y,z]). Without one the array is taken as axial slices, "SPL".

    Args:
        shape: of its three axes.
        spacing_mm: of these.
        frame: of the model: slices, rows, columns.
    """
    axis = _axis_of_slices(shape, spacing_mm)
    return AXIAL if axis is None else "".join(frame[(axis, *_ROWS_COLUMNS[axis]).index(own)] for own in range(3))


def _axis_of_slices(shape: Sequence[int], spacing_mm: Sequence[float]) -> int | None:
    """Return the axis that stands out as that of the slices; None where none does."""
    single = [axis for axis in range(3) if shape[axis] == 1]
    if len(single) == 1:
        return single[0]
    for axis, others in _ROWS_COLUMNS.items():
        if spacing_mm[axis] >= COARSER * max(spacing_mm[other] for other in others):
            return axis
    return None


def affine_of(spacing_mm: Sequence[float], frame: str) -> NDArray[np.float64]:
    """Return the affine [4,4] of an array whose axes point to `frame`; its first voxel is the world's origin."""
    affine = np.eye(4)
    for axis, letter in enumerate(check_frame(frame)):
        affine[:3, axis] = spacing_mm[axis] * np.array(_DIRECTIONS[letter], dtype=np.float64)
    return affine


def as_stored(array: NDArray, affine: NDArray[np.float64]) -> Volume:
    """Return an array of a viewer, or [c, …] of several channels, as a volume whose first axis runs fastest.

    Its axes are in reverse (a view): voxel (a, b, c) of the viewer is (c, b, a) there.
    """
    reverse = np.eye(4)[:, [2, 1, 0, 3]]
    stored = array.transpose()  # [c, …] of several channels are then last, as a volume has them
    return Volume(array=stored, grid=Grid(shape=stored.shape[:3], affine=affine @ reverse))


def in_world(places: NDArray | Sequence[Sequence[float]], grid: Grid) -> list[list[float]]:
    """Return voxel indices [n,3] of a viewer as world positions in mm; `grid` is that of the stored volume."""
    return drawn.in_world(np.asarray(places, dtype=np.float64).reshape(-1, 3)[:, ::-1].tolist(), grid)
