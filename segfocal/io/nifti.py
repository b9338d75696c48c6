"""NIfTI volumes in and out: what is read carries its grid, what is written carries the scan's own geometry."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
from isal import igzip, igzip_threaded, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io.files import check_new, written_beside
from segfocal.io.spool import release

SUFFIXES = (".nii.gz", ".nii")
_DAMAGE: tuple[type[Exception], ...] = (  # what reading a damaged file raises
    ImageFileError,
    HeaderDataError,
    EOFError,
    zlib.error,
    cast("type[Exception]", isal_zlib.error),
    OSError,
    ValueError,
    OverflowError,
)
_OFFSET, _SLICES = 352, 16  # bytes before the voxels; slices written at a time
_LEVEL = 2  # of isal's 0 to 3
_LARGEST_LABEL = 999  # beyond every label scheme in use; HU and MR intensities pass it


def read(path: str | Path) -> Volume:
    """Read a 3-D image as float32 with its grid, rescaled as its header says.

    Raises:
        UserError: the file is missing, damaged, shorter than its header promises, or not 3-D; its affine is
            singular; a voxel is NaN or infinite.
    """
    scan = read_stored(path)
    return Volume(array=scan.array.astype(np.float32, copy=False), grid=scan.grid)


def read_stored(path: str | Path) -> Volume:
    """Read a 3-D image as `read` does, but leave integers that need no rescaling as they are stored.

    A CT then takes half the memory.
    """
    path = Path(path)
    array, grid = _load(path)
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
        _check_finite(array, path)
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
    if not np.issubdtype(array.dtype, np.integer):
        whole = np.rint(np.nan_to_num(array, nan=0.5))
        if not np.array_equal(whole, array):
            raise UserError(
                expected="a label map of whole numbers",
                found=f"values such as {float(array[whole != array].flat[0]):.4g}",
                where=path,
                do="give the label map rather than an image or probabilities, or round it",
            )
        array = whole.astype(np.int64)
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
    with _readable(Path(path)):
        return _grid(_open(Path(path)), Path(path))


def write(path: str | Path, labels: Volume, *, like: str | Path | Grid, overwrite: bool = False) -> None:
    """Write a label map with the affine, form codes and units of the scan `like`, as the smallest integer type.

    like: a NIfTI file, or the grid of a scan of another format. The file appears whole or not at all.

    Raises:
        UserError: the grids differ, `path` exists and overwrite is False, or it cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    check_new(path, overwrite=overwrite)
    scan = _scan(like)
    where = path if isinstance(like, Grid) else Path(like)
    difference = labels.grid.difference(_grid(scan, where))
    if difference:
        raise UserError(expected="a mask on the scan's grid", found=difference, where=where, do="resample it first")
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
    _write(path, shares.array, _scan(like), slope=1 / 65535)


def _scan(like: str | Path | Grid) -> nib.Nifti1Image:
    """Return the scan of a file, or one of zeros on a grid, in the coordinates of its scanner (code 1) and in mm."""
    if not isinstance(like, Grid):
        return _open(Path(like))
    image = nib.Nifti1Image(np.broadcast_to(np.uint8(0), like.shape), like.affine)
    for form in (image.set_sform, image.set_qform):
        form(like.affine, 1)
    image.header.set_xyzt_units("mm")
    return image


def _write(path: Path, data: NDArray, scan: nib.Nifti1Image, *, slope: float | None = None) -> None:
    """Write voxels with the geometry of a scan, a few slices at a time, so that data on disk never is in memory."""
    header = nib.Nifti1Header()
    header.set_data_dtype(data.dtype)
    header["xyzt_units"] = scan.header["xyzt_units"]
    image = nib.Nifti1Image(np.broadcast_to(data.dtype.type(0), data.shape), None, header=header)
    image.set_sform(*_form(scan, "sform"))
    image.set_qform(*_form(scan, "qform"))
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


def check_suffix(path: Path) -> None:
    """Raise UserError unless `path` is named as a NIfTI file."""
    if not path.name.endswith(SUFFIXES):
        raise UserError(expected="a file name ending in .nii.gz or .nii", found=path.name, do="choose such a name")


def smallest_integer_type(array: NDArray) -> np.dtype:
    """Return the smallest integer dtype that holds every value of `array` (unsigned where none is negative)."""
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    candidates = (np.uint8, np.uint16, np.uint32) if low >= 0 else (np.int8, np.int16, np.int32)
    fitting = [t for t in candidates if np.iinfo(t).min <= low and high <= np.iinfo(t).max]
    return np.dtype(fitting[0] if fitting else np.int64)


def _open(path: Path) -> nib.Nifti1Image:
    if path.is_dir():
        raise UserError(expected="a NIfTI file", found="a folder without DICOM slices", where=path, do="check the path")
    if not path.is_file():
        raise UserError(expected="a NIfTI file", found="no such file", where=path, do="check the path")
    check_suffix(path)
    with _readable(path):
        return nib.load(path)


def _load(path: Path) -> tuple[NDArray, Grid]:
    """Return the voxels, header scaling applied, and the grid. Integers without scaling stay integers."""
    image = _open(path)
    grid = _grid(image, path)
    with _readable(path):
        array = _voxels(image, path)
    if array.dtype.kind not in "iuf":
        raise UserError(
            expected="one real number a voxel",
            found=f"voxels of type {image.header.get_value_label('datatype')}",
            where=path,
            do="convert it to a grey-scale volume",
        )
    return array.reshape(grid.shape), grid


def _voxels(image: nib.Nifti1Image, path: Path) -> NDArray:
    if path.suffix != ".gz":
        return _scaled(image)
    with igzip.open(path) as file:
        array = _scaled(type(image).from_stream(file))
        while file.read(1 << 20):  # nibabel stops after the voxels; the checksum that tells of damage comes last
            pass
    return array


def _scaled(image: nib.Nifti1Image) -> NDArray:
    """Return the voxels as stored, or, where the header rescales them, in float32 rather than nibabel's float64."""
    stored, slope, inter = image.dataobj.get_unscaled(), image.dataobj.slope, image.dataobj.inter
    if slope in (1, None) and inter in (0, None):
        return np.asanyarray(stored)
    if stored.dtype.kind not in "iuf":
        return np.asanyarray(image.dataobj)
    array = stored.astype(np.float32)
    array *= np.float32(slope)
    array += np.float32(inter)
    return array


def _grid(image: nib.Nifti1Image, path: Path) -> Grid:
    shape = tuple(int(size) for size in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or 0 in shape:
        raise UserError(
            expected="a 3-D volume",
            found=f"{len(shape)} axes, shape {shape}",
            where=path,
            do="save one volume of a series as a file of its own, or stack slices into one",
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise UserError(
            expected="an affine that gives every voxel its own place",
            found="a singular or non-finite one (spacing zero?)",
            where=path,
            do="convert the scan again from its source, or set its sform",
        )
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine)


def _form(scan: nib.Nifti1Image, name: str) -> tuple[NDArray, int]:
    """Return the scan's sform or qform with its code; where that is unset or damaged, the affine in force."""
    try:
        affine, code = getattr(scan, f"get_{name}")(coded=True)
    except (ValueError, HeaderDataError):  # a quaternion longer than 1: readers go by the sform and never notice
        affine, code = None, 0
    return (scan.affine if affine is None else affine), int(code)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn every way a damaged file fails into one message."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, PermissionError):
            found = "no permission to read it"
        else:
            found = f"{os.path.getsize(path)} bytes that are damaged or cut short ({_first_line(error)})"
        raise UserError(
            expected="a whole NIfTI file", found=found, where=path, do="copy or convert the scan again"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:120]
