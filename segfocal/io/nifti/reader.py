"""NIfTI volumes in, each array with its grid.

`read` is for images, `read_stored` for images in half the memory, `read_labels` for label maps, `read_as_is` for the
doctor, which wants whatever values there are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError, note
from segfocal.grid import Grid, Volume
from segfocal.io.nifti.geometry import grid_of
from segfocal.io.nifti.header import read_header, readable
from segfocal.io.nifti.voxels import read_voxels, smallest_integer_type

ALMOST_WHOLE = 0.01  # a label so near a whole number was meant to be it
_LARGEST_WHOLE = 2.0**53  # above it floats leave numbers out
_AT_A_TIME = 1 << 18  # voxels
_SURE_LABEL, _LARGEST_LABEL = 999, 32767  # up to here labels whatever their number; above here none
_MOST_LABELS = 500  # distinct values; FreeSurfer has some 200, HU and MR intensities thousands


def read(path: str | Path) -> Volume:
    """Read a 3-D image as float32 with its grid, rescaled as its header says.

    Raises:
        UserError: the file is missing, damaged, shorter than its header promises, or not 3-D; its affine is
            singular; a voxel is NaN or infinite.
    """
    path = Path(path)
    scan = read_stored(path)
    with readable(path):
        return Volume(array=scan.array.astype(np.float32, copy=False), grid=scan.grid)


def read_stored(path: str | Path) -> Volume:
    """Read a 3-D image as `read` does, but leave integers that need no rescaling as they are stored.

    A CT then takes half the memory.

    Raises:
        UserError: as `read`.
    """
    path = Path(path)
    array, grid = _load(path)
    if array.dtype.kind == "f":
        with readable(path), np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
        _check_finite(array, path)
    return Volume(array=array, grid=grid)


def read_as_is(path: str | Path) -> Volume:
    """Read a 3-D volume, rescaled as its header says, whatever its values: NaN, infinities, parts of labels.

    Raises:
        UserError: as `read`, but not for its values.
    """
    array, grid = _load(Path(path))
    return Volume(array=array, grid=grid)


def _check_finite(array: NDArray, path: Path) -> None:
    bad, first = 0, None
    thick = _slices_at_a_time(array)
    for z in range(0, array.shape[2], thick):  # a mask of the whole volume would be a quarter of its memory again
        wrong = ~np.isfinite(array[:, :, z : z + thick])
        if wrong.any() and first is None:
            places = np.argwhere(wrong)
            x, y, dz = (int(i) for i in places[np.argmin(places[:, 2])])
            first = (x, y, z + dz)
        bad += int(np.count_nonzero(wrong))
    if bad:
        raise UserError(
            expected="finite voxels",
            found=f"{bad} NaN or infinite, the first at {first}",
            where=path,
            do="replace them (numpy.nan_to_num) or convert the scan again",
        )


def read_labels(path: str | Path) -> Volume:
    """Read a 3-D label map as integers of the smallest type that holds them.

    Values within 0.01 of whole numbers, as a resampler leaves them, are rounded, with a note.

    Raises:
        UserError: the file is missing, damaged, shorter than its header promises, or not 3-D; its affine is
            singular; a voxel is farther from a whole number.
    """
    path = Path(path)
    array, grid = _load(path)
    if array.dtype.kind == "f":
        array = _rounded(array, path)
    if array.dtype == np.uint64 and array.max() > np.iinfo(np.int64).max:
        raise UserError(
            expected="a label map of whole numbers",
            found=f"values such as {array.max()}",
            where=path,
            do="give the label map rather than an image",
        )
    return Volume(array=array.astype(smallest_integer_type(array)), grid=grid)


def _rounded(array: NDArray, path: Path) -> NDArray[np.int64]:
    with np.errstate(invalid="ignore"):
        whole = np.rint(array)
        off = np.abs(array - whole)
        wrong = ~(off <= ALMOST_WHOLE) | ~(np.abs(array) < _LARGEST_WHOLE)  # NaN too
    if wrong.any():
        raise UserError(
            expected="a label map of whole numbers",
            found=f"values such as {array[wrong].flat[0]!s}",
            where=path,
            do="give the label map rather than an image or probabilities, or round it",
        )
    if off.any():
        note(f"{path}: values such as {array[off > 0].flat[0]!s} are taken for the whole numbers beside them")
    return whole.astype(np.int64)


def check_label_map(labels: Volume, path: str | Path) -> None:
    """Raise UserError where labels look like an image, see `like_an_image`."""
    if like_an_image(labels.array):
        low, high = int(labels.array.min()), int(labels.array.max())
        raise UserError(
            expected=f"a label map (up to {_SURE_LABEL}, or to {_LARGEST_LABEL} with at most {_MOST_LABELS} values)",
            found=f"values from {low} to {high}, as in an image",
            where=path,
            do="give the label map, or check that image and label are not swapped",
        )


def like_an_image(array: NDArray) -> bool:
    """Return whether whole values [x,y,z] are those of an image: below 0, above 32767, or above 999 and of many kinds.

    Label schemes number up to thousands (FreeSurfer) and have some hundreds of values; intensities have thousands.
    """
    if not array.size or (array.min() >= 0 and array.max() <= _SURE_LABEL):
        return False
    if array.min() < 0 or array.max() > _LARGEST_LABEL:
        return True
    found: set[float] = set()
    thick = _slices_at_a_time(array)
    for z in range(0, array.shape[-1], thick):  # an image is known after a slice or two
        found.update(np.unique(array[..., z : z + thick]).tolist())
        if len(found) > _MOST_LABELS:
            return True
    return False


def _slices_at_a_time(array: NDArray) -> int:
    """Return how many slices, along the last axis, are looked at together: one of a scan, many of tiny ones."""
    return max(1, _AT_A_TIME * array.shape[-1] // max(1, array.size))


def read_grid(path: str | Path) -> Grid:
    """Read a volume's grid without its voxels.

    Raises:
        UserError: as `read`, but damage among the voxels goes unseen.
    """
    path = Path(path)
    return grid_of(read_header(path), path)


def _load(path: Path) -> tuple[NDArray, Grid]:
    """Return the voxels, header scaling applied, and the grid. Integers without scaling stay integers."""
    header = read_header(path)
    grid = grid_of(header, path)
    if header.dtype is None or header.dtype.kind not in "iuf":
        raise UserError(
            expected="one real number a voxel",
            found=f"voxels of type {header.type_name}",
            where=path,
            do="convert it to a grey-scale volume",
        )
    with readable(path):
        return read_voxels(header).reshape(grid.shape), grid
