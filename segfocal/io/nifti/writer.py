"""NIfTI volumes out: what is written carries the scan's own geometry, and appears complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from isal import igzip_threaded
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.files import check_new, written_beside
from segfocal.grid import Grid, Volume
from segfocal.io.nifti.geometry import Form, form_in_force, grid_of, qform_of, sform_of
from segfocal.io.nifti.header import RawHeader, check_suffix, header_of, read_header
from segfocal.io.nifti.voxels import smallest_integer_type
from segfocal.io.scratch import release

_OFFSET, _SLICES = 352, 16  # bytes before the voxels; slices written at a time
_LEVEL = 2  # of isal's 0 to 3
_MILLIMETRES = 2  # the code of the unit


def write(path: str | Path, labels: Volume, *, like: str | Path | Grid, overwrite: bool = False) -> None:
    """Write a label map with its scan's affine, form codes and units. The file appears complete or not at all.

    Args:
        path: ends in .nii.gz or .nii.
        labels: the label map, on the scan's grid; stored as the smallest integer type that holds its values.
        like: the scan, a NIfTI file, or the grid of a scan of another format.
        overwrite: replace a file that exists.

    Raises:
        UserError: the grids differ, `path` exists and overwrite is False, or it cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    check_new(path, overwrite=overwrite)
    scan = _scan(like, path)
    _check_on(scan, labels)
    _write(path, _stored(labels), scan)


def image_like(labels: Volume, *, like: str | Path | Grid) -> nib.Nifti1Image:
    """Return a label map as an image of nibabel's, with what `write` gives its file: affine, form codes, units, type.

    Args:
        labels: the label map, on the scan's grid.
        like: the scan, a NIfTI file, or the grid of a scan of another format.

    Raises:
        UserError: the grids differ, or the scan's header cannot be read.
    """
    scan = _scan(like, Path("a scan in memory"))
    _check_on(scan, labels)
    return image_with(_stored(labels), forms_of(scan), units=int(scan.fields["xyzt_units"]))


def _check_on(scan: RawHeader, labels: Volume) -> None:
    difference = labels.grid.difference(grid_of(scan, scan.path))
    if difference:
        raise UserError(expected="a mask on the scan's grid", found=difference, where=scan.path, do="resample it first")


def _stored(labels: Volume) -> NDArray:
    """Return the voxels of a label map in the smallest integer type that holds them."""
    array = labels.array
    return array if array.dtype == np.uint8 else array.astype(smallest_integer_type(array))


def write_probabilities(
    path: str | Path, probabilities: Volume, *, like: str | Path | Grid, overwrite: bool = False
) -> None:
    """Write probabilities stored as uint16, which readers see as [0,1].

    Args:
        path: ends in .nii.gz or .nii.
        probabilities: as uint16, 65535 for 1.
        like: the scan whose geometry it gets, a NIfTI file, or the grid of a scan of another format.
        overwrite: replace a file that exists.

    Raises:
        UserError: as `write`.
    """
    path = Path(path)
    check_suffix(path)
    check_new(path, overwrite=overwrite)
    _write(path, probabilities.array, _scan(like, path), slope=1 / 65535)


def _scan(like: str | Path | Grid, path: Path) -> RawHeader:
    return header_of(like, path) if isinstance(like, Grid) else read_header(like)


def write_new(path: str | Path, volume: Volume, *, overwrite: bool = False) -> None:
    """Write a volume as it is on its own grid in mm, which both sform and qform hold; of a sheared one the sform only.

    The file appears complete or not at all.

    Raises:
        UserError: `path` exists and overwrite is False, or it cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    check_new(path, overwrite=overwrite)
    forms = (volume.grid.affine, 1), (volume.grid.affine, 0 if volume.grid.sheared else 1)
    _write_voxels(path, volume.array, forms, units=_MILLIMETRES)


def _write(path: Path, data: NDArray, scan: RawHeader, *, slope: float | None = None) -> None:
    """Write voxels with the geometry of a scan, in the unit of the scan."""
    _write_voxels(path, data, forms_of(scan), units=int(scan.fields["xyzt_units"]), slope=slope)


_Form = tuple[NDArray, int]  # an affine and its code


def forms_of(scan: RawHeader) -> tuple[_Form, _Form]:
    """Return sform and qform of what is written on the grid of a scan, each an affine and its code."""
    return _form(scan, sform_of(scan)), _form(scan, qform_of(scan))


def _write_voxels(
    path: Path, data: NDArray, forms: tuple[_Form, _Form], *, units: int, slope: float | None = None
) -> None:
    """Write voxels with sform and qform, a few slices at a time, so that data on disk never is in memory."""
    header = image_with(np.broadcast_to(data.dtype.type(0), data.shape), forms, units=units).header
    header["magic"], header["vox_offset"] = b"n+1", _OFFSET
    header.set_slope_inter(slope or 1.0, 0.0)
    with written_beside(path) as temporary, _opened(temporary) as file:
        file.write(header.binaryblock.ljust(_OFFSET, b"\0"))
        for start in range(0, data.shape[2], _SLICES):
            file.write(np.ascontiguousarray(data[:, :, start : start + _SLICES].T).data)
            release(data)


def image_with(data: NDArray, forms: tuple[_Form, _Form], *, units: int) -> nib.Nifti1Image:
    """Return voxels as an image of nibabel's with sform and qform; units is the code of the unit."""
    header = nib.Nifti1Header()
    header.set_data_dtype(data.dtype)
    header["xyzt_units"] = units
    image = nib.Nifti1Image(data, None, header=header)
    image.set_sform(*forms[0])
    image.set_qform(*forms[1])
    return image


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write to, compressed by a thread of its own where its name ends in .gz."""
    packed = path.suffix.lower() == ".gz"
    with igzip_threaded.open(path, "wb", compresslevel=_LEVEL, threads=1) if packed else path.open("wb") as file:
        yield file


def _form(scan: RawHeader, form: Form) -> tuple[NDArray, int]:
    """Return a form of a scan with its code; where that is unset or damaged, the affine in force with the code 0."""
    affine = form.affine if form.affine is not None else form_in_force(scan).affine
    if affine is None:
        raise ValueError("a scan without a place has no mask")
    return affine, form.code if form.affine is not None else 0
