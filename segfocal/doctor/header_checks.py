"""Checks of one file's header, before any voxel is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segfocal.doctor.checks import Check, Finding, Found
from segfocal.errors import UserError
from segfocal.grid import NEAR, Grid
from segfocal.io.nifti.geometry import (
    MM_OF,
    affine_mm,
    mm_per_unit,
    place_problem,
    qform_of,
    sform_of,
    spacing_of,
)
from segfocal.io.nifti.header import RawHeader, read_raw_header

SMALLEST_MM, LARGEST_MM = 0.01, 50.0
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
    affine = affine_mm(header)
    if affine is None:
        yield Check.NO_PLACE, place_problem(header)
        return
    spacing = spacing_of(affine)
    if (spacing < SMALLEST_MM).any() or (spacing > LARGEST_MM).any():
        yield Check.ABSURD_SPACING, _mm(spacing) + (f" (the header's unit is {header.units})" * (header.units != "mm"))
    if header.units in MM_OF and header.units != "mm":
        yield Check.WRONG_UNIT, f"{_plain(spacing / mm_per_unit(header))} in {header.units}, which is {_mm(spacing)}"
    elif header.units not in MM_OF:
        yield Check.UNIT, header.units
    yield from _forms(header)
    pixdim = np.array(header.pixdim) * mm_per_unit(header)
    if not np.allclose(pixdim, spacing, rtol=0.01):
        yield Check.PIXDIM, f"{_mm(pixdim)} against {_mm(spacing)}"
    off = _degrees_off(affine)
    if off > _OBLIQUE_DEGREES:
        yield Check.OBLIQUE, f"{off:.0f}° off"
    if Grid(shape=(1, 1, 1), affine=affine).sheared:
        yield Check.SHEARED, f"axes at {_least_angle(affine):.4g}°"


def _forms(header: RawHeader) -> Iterator[Found]:
    sform, qform = sform_of(header), qform_of(header)
    handed = float(header.fields["pixdim"][0])
    if not sform.code and not qform.code:
        yield Check.NO_ORIENTATION, "sform and qform are not set"
    elif qform.problem:
        yield Check.FORMS_DISAGREE, f"a qform with {qform.problem}"
    elif qform.code and handed not in (-1, 0, 1):
        yield Check.FORMS_DISAGREE, f"a qform with pixdim[0] of {handed:g}, taken for {-1 if handed < 0 else 1}"
    shape = header.shape[:3]
    if sform.affine is not None and qform.affine is not None and len(shape) == 3 and min(shape) > 0:
        factor = mm_per_unit(header)
        moved = factor * Grid(shape=shape, affine=sform.affine).shift_mm(Grid(shape=shape, affine=qform.affine))
        slack = qform.turned_by * float(np.linalg.norm(spacing_of(qform.affine) * (np.array(shape) - 1)))
        if moved > factor * (NEAR * spacing_of(sform.affine).min() + slack):
            yield Check.FORMS_DISAGREE, f"voxels up to {moved:.4g} mm apart"


def _degrees_off(affine: NDArray) -> float:
    """Return the largest angle between an array axis and the axis of the body nearest to it."""
    cosines = np.abs(affine[:3, :3] / spacing_of(affine))
    return float(np.degrees(np.arccos(np.clip(cosines.max(0).min(), 0, 1))))


def _least_angle(affine: NDArray) -> float:
    """Return the smallest angle between two array axes."""
    cosines = affine[:3, :3] / spacing_of(affine)
    return float(np.degrees(np.arccos(np.abs(cosines.T @ cosines - np.eye(3)).max())))


def _plain(spacing: NDArray) -> str:
    return " × ".join(f"{value:.4g}" for value in spacing)


def _mm(spacing: NDArray) -> str:
    return _plain(spacing) + " mm"
