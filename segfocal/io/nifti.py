"""NIfTI volumes in and out: what is read carries its grid, what is written carries the scan's own geometry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from isal import igzip_threaded
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.files import check_new, written_beside
from segfocal.grid import Grid, Volume
from segfocal.io.nifti_header import SUFFIXES, RawHeader, check_suffix, header_of, read_header, readable
from segfocal.io.nifti_voxels import read_voxels
from segfocal.io.scratch import release

__all__ = [
    "SUFFIXES",
    "check_label_map",
    "check_suffix",
    "read",
    "read_as_is",
    "read_grid",
    "read_labels",
    "read_stored",
    "smallest_integer_type",
    "write",
    "write_new",
    "write_probabilities",
]

_OFFSET, _SLICES = 352, 16  # bytes before the voxels; slices written at a time
_LEVEL = 2  # of isal's 0 to 3
_MILLIMETRES = 2  # the code of the unit
_LARGEST_WHOLE = 2.0**53  # above it floats leave numbers out
_FARTHEST_MM = 1e6  # a kilometre
_LARGEST_LABEL = 999  # beyond every label scheme in use; HU and MR intensities pass it


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
    for z in range(array.shape[2]):  # a mask of the whole volume would be a quarter of its memory again
        wrong = ~np.isfinite(array[:, :, z])
        if wrong.any() and first is None:
            first = (*(int(i) for i in np.argwhere(wrong)[0]), z)
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

    Raises:
        UserError: as `read`, and when a voxel is not a whole number.
    """
    path = Path(path)
    array, grid = _load(path)
    if array.dtype.kind == "f":
        whole = np.rint(array)
        wrong = (whole != array) | ~(np.abs(array) < _LARGEST_WHOLE)  # NaN too
        if wrong.any():
            raise UserError(
                expected="a label map of whole numbers",
                found=f"values such as {float(array[wrong].flat[0]):.4g}",
                where=path,
                do="give the label map rather than an image or probabilities, or round it",
            )
        array = whole.astype(np.int64)
    if array.dtype == np.uint64 and array.max() > np.iinfo(np.int64).max:
        raise UserError(
            expected="a label map of whole numbers",
            found=f"values such as {array.max()}",
            where=path,
            do="give the label map rather than an image",
        )
    return Volume(array=array.astype(smallest_integer_type(array)), grid=grid)


def check_label_map(labels: Volume, path: str | Path) -> None:
    """Raise UserError when "labels" look like an image: a negative value, or more values than structures have names."""
    low, high = int(labels.array.min()), int(labels.array.max())
    if low < 0 or high > _LARGEST_LABEL:
        raise UserError(
            expected=f"a label map with values from 0 to {_LARGEST_LABEL}",
            found=f"values from {low} to {high}, as in an image",
            where=path,
            do="give the label map, or check that image and label are not swapped",
        )


def read_grid(path: str | Path) -> Grid:
    """Read a volume's grid without its voxels; UserError as `read`."""
    path = Path(path)
    return _grid(read_header(path), path)


def write(path: str | Path, labels: Volume, *, like: str | Path | Grid, overwrite: bool = False) -> None:
    """Write a label map with the affine, form codes and units of the scan `like`, as the smallest integer type.

    like: a NIfTI file, or the grid of a scan of another format. The file appears whole or not at all.

    Raises:
        UserError: the grids differ, `path` exists and overwrite is False, or it cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    check_new(path, overwrite=overwrite)
    scan = _scan(like, path)
    difference = labels.grid.difference(_grid(scan, scan.path))
    if difference:
        raise UserError(expected="a mask on the scan's grid", found=difference, where=scan.path, do="resample it first")
    data = labels.array if labels.array.dtype == np.uint8 else labels.array.astype(smallest_integer_type(labels.array))
    _write(path, data, scan)


def write_probabilities(path: str | Path, shares: Volume, *, like: str | Path | Grid, overwrite: bool = False) -> None:
    """Write probabilities stored as uint16 (65535 is 1), which readers see as [0,1], with the geometry of `like`.

    Raises:
        UserError: as `write`.
    """
    path = Path(path)
    check_suffix(path)
    check_new(path, overwrite=overwrite)
    _write(path, shares.array, _scan(like, path), slope=1 / 65535)


def _scan(like: str | Path | Grid, path: Path) -> RawHeader:
    return header_of(like, path) if isinstance(like, Grid) else read_header(like)


def write_new(path: str | Path, volume: Volume, *, overwrite: bool = False) -> None:
    """Write a volume as it is on its own grid in mm, which both sform and qform hold; of a sheared one the sform only.

    The file appears whole or not at all.

    Raises:
        UserError: `path` exists and overwrite is False, or it cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    check_new(path, overwrite=overwrite)
    cosines = volume.grid.affine[:3, :3] / np.array(volume.grid.spacing_mm)
    sheared = not np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-4)
    forms = (volume.grid.affine, 1), (volume.grid.affine, 0 if sheared else 1)
    _write_voxels(path, volume.array, forms, units=_MILLIMETRES)


def _write(path: Path, data: NDArray, scan: RawHeader, *, slope: float | None = None) -> None:
    """Write voxels with the geometry of a scan."""
    forms = _form(scan, "sform"), _form(scan, "qform")
    _write_voxels(path, data, forms, units=int(scan.fields["xyzt_units"]), slope=slope)


_Form = tuple[NDArray, int]  # an affine and its code


def _write_voxels(
    path: Path, data: NDArray, forms: tuple[_Form, _Form], *, units: int, slope: float | None = None
) -> None:
    """Write voxels with sform and qform, a few slices at a time, so that data on disk never is in memory."""
    header = nib.Nifti1Header()
    header.set_data_dtype(data.dtype)
    header["xyzt_units"] = units
    image = nib.Nifti1Image(np.broadcast_to(data.dtype.type(0), data.shape), None, header=header)
    image.set_sform(*forms[0])
    image.set_qform(*forms[1])
    header = image.header
    header["magic"], header["vox_offset"] = b"n+1", _OFFSET
    header.set_slope_inter(slope or 1.0, 0.0)
    with written_beside(path) as temporary, _opened(temporary) as file:
        file.write(header.binaryblock.ljust(_OFFSET, b"\0"))
        for start in range(0, data.shape[2], _SLICES):
            file.write(data[:, :, start : start + _SLICES].tobytes(order="F"))
            release(data)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write to, compressed by a thread of its own where its name ends in .gz."""
    opened = (
        igzip_threaded.open(path, "wb", compresslevel=_LEVEL, threads=1) if path.suffix == ".gz" else path.open("wb")
    )
    with opened as file:
        yield file


def smallest_integer_type(array: NDArray) -> np.dtype:
    """Return the smallest integer dtype that holds every value of `array` (unsigned where none is negative)."""
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    candidates = (np.uint8, np.uint16, np.uint32) if low >= 0 else (np.int8, np.int16, np.int32)
    fitting = [t for t in candidates if np.iinfo(t).min <= low and high <= np.iinfo(t).max]
    return np.dtype(fitting[0] if fitting else np.int64)


def _load(path: Path) -> tuple[NDArray, Grid]:
    """Return the voxels, header scaling applied, and the grid. Integers without scaling stay integers."""
    header = read_header(path)
    grid = _grid(header, path)
    if header.dtype is None or header.dtype.kind not in "iuf":
        raise UserError(
            expected="one real number a voxel",
            found=f"voxels of type {header.type_name}",
            where=path,
            do="convert it to a grey-scale volume",
        )
    with readable(path):
        return read_voxels(header).reshape(grid.shape), grid


def _grid(header: RawHeader, path: Path) -> Grid:
    shape = header.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or 0 in shape:
        raise UserError(
            expected="a 3-D volume",
            found=f"{len(shape)} axes, shape {shape}",
            where=path,
            do="save one volume of a series as a file of its own, or stack slices into one",
        )
    with readable(path), np.errstate(all="ignore"):
        affine = np.asarray(header.fields.get_best_affine(), dtype=np.float64)
        placed = np.isfinite(affine).all() and np.abs(affine).max() < _FARTHEST_MM
        placed = placed and abs(np.linalg.det(affine[:3, :3])) >= 1e-12
    if not placed:
        raise UserError(
            expected="an affine that gives every voxel its own place",
            found="a singular or non-finite one (spacing zero?)",
            where=path,
            do="convert the scan again from its source, or set its sform",
        )
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine)


def _form(scan: RawHeader, name: str) -> tuple[NDArray, int]:
    """Return the scan's sform or qform with its code; where that is unset or damaged, the affine in force."""
    try:
        affine, code = getattr(scan.fields, f"get_{name}")(coded=True)
    except (ValueError, HeaderDataError):  # a quaternion longer than 1: readers go by the sform and never notice
        affine, code = None, 0
    return (scan.fields.get_best_affine() if affine is None else affine), int(code)
