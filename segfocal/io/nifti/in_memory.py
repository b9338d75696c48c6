"""Scans that a program has in memory, as images of nibabel's or arrays: these in, a label map on their grid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import ArrayLike, NDArray

from segfocal.errors import UserError
from segfocal.grid import Grid, Shape, Volume
from segfocal.io.nifti.geometry import form_in_force, grid_of_shape
from segfocal.io.nifti.header import RawHeader, header_of
from segfocal.io.nifti.voxels import smallest_integer_type
from segfocal.io.nifti.writer import forms_of, image_with

_IMAGE, _ARRAY = Path("a nibabel image"), Path("an array")  # to be named in messages


def is_image(value: object) -> bool:
    """Return whether a value is an image of nibabel's that lies somewhere in space."""
    return isinstance(value, SpatialImage)


def volume_of(image: Any) -> Volume:
    """Return the voxels of an image, floats as float32, with its grid in mm.

    Args:
        image: of nibabel's: [x,y,z], or [x,y,z,c] of several channels; further axes of length 1 are dropped. A NIfTI
            header gives the place as it would from its file, another format its affine.

    Raises:
        UserError: other axes, values that are no real numbers or not finite, an affine that gives no place.
    """
    array = _sound(np.asanyarray(image.dataobj), _IMAGE)
    return Volume(array=array, grid=grid_of_shape(_shape(array), _header_of(image), _IMAGE))


def volume_at(array: NDArray, affine: ArrayLike) -> Volume:
    """Return an array, floats as float32, with the grid that an affine gives it.

    Args:
        array: [x,y,z], or [x,y,z,c] of several channels.
        affine: [4,4], from voxel indices to world mm.

    Raises:
        UserError: as `volume_of`.
    """
    array, matrix = _sound(array, _ARRAY), np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not abs(np.linalg.det(matrix[:3, :3])) > 0:
        raise UserError(
            expected="an affine [4,4] that gives every voxel its own place",
            found=f"shape {matrix.shape}" if matrix.shape != (4, 4) else "one that is singular or not finite",
            where=_ARRAY,
            do="give the scan's own",
        )
    return Volume(array=array, grid=Grid(shape=_shape(array), affine=matrix))


def image_on(labels: Volume, image: Any) -> nib.Nifti1Image:
    """Return a label map as an image with the affine, form codes and units of another image, on whose grid it is."""
    header = _header_of(image)
    array = labels.array.astype(smallest_integer_type(labels.array), copy=False)
    return image_with(array, forms_of(header), units=int(header.fields["xyzt_units"]))


def _sound(array: NDArray, place: Path) -> NDArray:
    """Return voxels of a type that scans have; UserError for others."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (3, 4) or 0 in array.shape or array.dtype.kind not in "iufb":
        raise UserError(
            expected="voxels [x,y,z] or [x,y,z,c] of real numbers",
            found=f"shape {array.shape} of {array.dtype}",
            where=place,
            do="give one volume",
        )
    types: dict[str, np.dtype] = {"b": np.dtype(np.uint8), "f": np.dtype(np.float32)}
    with np.errstate(over="ignore"):
        array = array.astype(types.get(array.dtype.kind, array.dtype.newbyteorder("=")), copy=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(
            expected="finite voxels",
            found=f"{np.count_nonzero(~np.isfinite(array))} NaN or infinite",
            where=place,
            do="replace them (numpy.nan_to_num)",
        )
    return array


def _shape(array: NDArray) -> Shape:
    x, y, z = array.shape[:3]
    return x, y, z


def _header_of(image: Any) -> RawHeader:
    """Return the header of an image as one of a file: its own of NIfTI, else one made of its affine."""
    if isinstance(image.header, nib.Nifti1Header):
        fields = image.header.copy()
        held = RawHeader(path=_IMAGE, fields=fields, packed=False, size=0)
        own = form_in_force(held).affine
        if image.affine is None or (own is not None and np.allclose(own, image.affine, atol=1e-4)):
            return held
        fields.set_sform(image.affine, code=2)  # its affine was changed: nibabel would save it so
        fields.set_qform(image.affine, code=0)
        return held
    x, y, z = image.shape[:3]
    return header_of(Grid(shape=(x, y, z), affine=image.affine), _IMAGE)
