"""Checks of one file's header, before any voxel is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segfocal.doctor.checks import Check, Finding, Found
from segfocal.errors import UserError
from segfocal.grid import Grid
from segfocal.io.nifti.header import RawHeader, read_raw_header

SMALLEST_MM, LARGEST_MM = 0.01, 50.0
_MM = {"m": 1000.0, "micron": 0.001}
_OBLIQUE_DEGREES = 5.0


def header_findings(path: Path, case: str) -> list[Finding]:
    """Return what is wrong with a NIfTI file by its size and header; nothing in it raises an error."""
    found: list[Found] = []
    if not path.exists():
        found = [(Check.MISSING_FILE, "no such file")]
    elif path.is_file() and path.stat().st_size == 0:
        found = [(Check.EMPTY_FILE, "0 bytes")]
    else:
        try:
            header = read_raw_header(path)
            found = [*_of_file(header), *_of_voxels(header), *_of_space(header)]
        except UserError as error:
            found = [(Check.NO_NIFTI, error.found)]
        except Exception as error:  # one file must not stop the others
            found = [(Check.UNREADABLE, f"{type(error).__name__}: {error}")]
    return [Finding(check=check, found=what, case=case, file=path) for check, what in found]


def _of_file(header: RawHeader) -> Iterator[Found]:
    named = header.path.suffix.lower() == ".gz"
    if named and not header.packed:
        yield Check.NOT_PACKED, "a plain NIfTI file"
    if header.packed and not named:
        yield Check.PACKED, "a gzip file"
    if not header.packed and header.shape and header.dtype is not None and _end(header) > header.size:
        yield Check.DAMAGED, f"{header.size} bytes, and a header that promises {_end(header):.0f}"
    if header.byte_order == ">":
        yield Check.BYTE_ORDER, "most significant byte first"


def _end(header: RawHeader) -> float:
    return header.offset + header.promised


def _of_voxels(header: RawHeader) -> Iterator[Found]:
    shape = header.shape
    if header.dtype is None or header.dtype.kind not in "iuf":
        yield Check.VOXEL_TYPE, header.type_name
    if not shape or min(shape) < 0:
        yield Check.DAMAGED, f"sizes {header.fields['dim'].tolist()}"
        return
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if 0 in shape:
        yield Check.EMPTY_VOLUME, f"shape {shape}"
    elif len(shape) < 3:
        yield Check.NOT_3D, f"shape {shape}"
    elif len(shape) > 3:
        yield Check.SEVERAL_VOLUMES, f"shape {shape}"
    elif shape[2] == 1:
        yield Check.ONE_SLICE, f"shape {shape}"


def _of_space(header: RawHeader) -> Iterator[Found]:
    affine = best_affine(header)
    if affine is None:
        yield Check.NO_PLACE, "an affine that is singular or not finite"
        return
    spacing = _spacing(affine)
    yield from _scale(spacing, header.units)
    forms = header.sform, header.qform
    if header.codes[0] <= 0 and header.codes[1] <= 0:
        yield Check.NO_ORIENTATION, "sform and qform are not set"
    elif header.codes[1] > 0 and forms[1] is None:
        yield Check.FORMS_DISAGREE, "a qform whose quaternion is no rotation"
    elif forms[0] is not None and forms[1] is not None:
        yield from _forms(header, forms[0], forms[1])
    pixdim = np.abs(header.pixdim)
    if not np.allclose(pixdim, spacing, rtol=0.01):
        yield Check.PIXDIM, f"{_mm(pixdim)} against {_mm(spacing)}"
    off = _degrees_off(affine)
    if off > _OBLIQUE_DEGREES:
        yield Check.OBLIQUE, f"{off:.0f}° off"


def _scale(spacing: NDArray, units: str) -> Iterator[Found]:
    in_mm = spacing * _MM.get(units, 1.0)
    if units in _MM and _absurd(spacing) and not _absurd(in_mm):
        yield Check.WRONG_UNIT, f"{_plain(spacing)} in {units}, which is {_mm(in_mm)}"
    else:
        if _absurd(spacing):
            yield Check.ABSURD_SPACING, _mm(spacing)
        if units != "mm":
            yield Check.UNIT, units


def _absurd(spacing: NDArray) -> bool:
    return bool((spacing < SMALLEST_MM).any() or (spacing > LARGEST_MM).any())


def in_mm(header: RawHeader) -> float:
    """Return by what a header's affine has to be multiplied to be in mm."""
    affine = best_affine(header)
    factor = _MM.get(header.units, 1.0)
    return 1.0 if affine is None or not _absurd(_spacing(affine)) else factor


def _forms(header: RawHeader, sform: NDArray, qform: NDArray) -> Iterator[Found]:
    shape = header.shape[:3]
    if len(shape) == 3 and min(shape) > 0 and np.isfinite(qform).all():
        moved = corner_shift(Grid(shape=shape, affine=sform), Grid(shape=shape, affine=qform))
        if moved > 0.1 * _spacing(sform).min():
            yield Check.FORMS_DISAGREE, f"voxels up to {moved:.4g} mm apart"


def best_affine(header: RawHeader) -> NDArray[np.float64] | None:
    """Return the affine in force, as every reader here takes it; None where it gives no place."""
    try:
        with np.errstate(all="ignore"):
            affine = np.asarray(header.fields.get_best_affine(), dtype=np.float64)
            sound = np.isfinite(affine).all() and np.abs(affine).max() < 1e6
            return affine if sound and abs(np.linalg.det(affine[:3, :3])) >= 1e-12 else None
    except Exception:  # whatever nibabel raises of a header that makes no sense
        return None


def corner_shift(one: Grid, other: Grid) -> float:
    """Return by how many mm the corner voxels of two grids of one shape lie apart, at most."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in one.shape])).reshape(3, -1).T
    moved = np.c_[corners, np.ones(len(corners))] @ (one.affine - other.affine).T
    return float(np.linalg.norm(moved[:, :3], axis=1).max())


def _degrees_off(affine: NDArray) -> float:
    """Return the largest angle between an array axis and the axis of the body nearest to it."""
    cosines = np.abs(affine[:3, :3] / _spacing(affine))
    return float(np.degrees(np.arccos(np.clip(cosines.max(0).min(), 0, 1))))


def _spacing(affine: NDArray) -> NDArray:
    return np.linalg.norm(affine[:3, :3], axis=0)


def _plain(spacing: NDArray) -> str:
    return " × ".join(f"{value:.4g}" for value in spacing)


def _mm(spacing: NDArray) -> str:
    return _plain(spacing) + " mm"
