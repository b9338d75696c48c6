"""Where a NIfTI header puts its voxels: one rule for unit, forms and spacings, for whoever reads a header.

docs/geometry.md has the rule beside those of nibabel and ITK.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.quaternions import quat2mat
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.grid import Grid, Shape
from segfocal.io.nifti.header import RawHeader, readable

MM_OF = {"m": 1000.0, "mm": 1.0, "micron": 0.001}  # other units are taken for mm
LONGEST_SIDE = 32767  # voxels, which NIfTI-1 can count; masks are written as such
_FARTHEST_MM = 1e6  # a kilometre
_LONGEST_QUATERNION = 1.001  # of three digits; beyond it is no rotation
_QUATERNION_ROUNDING = 2.0**-23  # of b² + c² + d² near 1, each rounded to float32
_FLAT = 1e-6  # volume of a voxel over that of one with its spacings at right angles


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """An affine of a header, in the header's own unit.

    Args:
        name: in a message, "a qform".
        code: 0 where it is not set.
        affine: [4,4]; None where it is not set or gives no place.
        problem: why one that is set gives no place; "" otherwise.
        turned_by: the angle, in radians, by which its rotation may be wrong for want of digits.
    """

    name: str
    code: int
    affine: NDArray[np.float64] | None = None
    problem: str = ""
    turned_by: float = 0.0


def mm_per_unit(header: RawHeader) -> float:
    """Return by what a header's affine is multiplied to be in mm."""
    return MM_OF.get(header.units, 1.0)


def spacing_of(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance between neighbouring voxels along each axis, in the unit of the affine."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def sform_of(header: RawHeader) -> Form:
    """Return the sform of a header, sound or not."""
    code = int(header.fields["sform_code"])
    if code <= 0:
        return Form(name="an sform", code=0)
    affine = np.eye(4)
    affine[:3] = [header.fields[f"srow_{axis}"] for axis in "xyz"]
    return _checked(Form(name="an sform", code=code, affine=affine))


def qform_of(header: RawHeader) -> Form:
    """Return the qform of a header, sound or not.

    As in NIfTI's own code, pixdim[0] counts by its sign, and a quaternion that is slightly longer than 1 is normalised;
    of spacings below 0 the magnitude counts.
    """
    code = int(header.fields["qform_code"])
    if code <= 0:
        return Form(name="a qform", code=0)
    problem = _spacing_problem(header)
    b, c, d = (float(header.fields[f"quatern_{letter}"]) for letter in "bcd")
    squared = b * b + c * c + d * d
    if not problem and not np.isfinite(squared):
        problem = "a quaternion that is not finite"
    if not problem and squared > _LONGEST_QUATERNION**2:
        problem = f"a quaternion of length {squared**0.5:.4g}, which is no rotation"
    if problem:
        return Form(name="a qform", code=code, problem=problem)
    real = max(0.0, 1.0 - squared) ** 0.5
    steps = np.abs(header.pixdim) * [1, 1, -1 if float(header.fields["pixdim"][0]) < 0 else 1]
    affine = np.eye(4)
    affine[:3, :3] = quat2mat((real, b, c, d)) * steps
    affine[:3, 3] = [header.fields[f"qoffset_{axis}"] for axis in "xyz"]
    angle = 2 * ((real**2 + _QUATERNION_ROUNDING) ** 0.5 - real)
    return _checked(Form(name="a qform", code=code, affine=affine, turned_by=angle))


def form_in_force(header: RawHeader) -> Form:
    """Return the form by which voxels are placed: the sform if it is set, else the qform, else one of spacings alone.

    With neither set it is nibabel's: x grows to the left, and the middle of the volume is the origin.
    """
    sform, qform = sform_of(header), qform_of(header)
    if sform.code or qform.code:
        return sform if sform.code else qform
    problem = _spacing_problem(header)
    if problem:
        return Form(name="a header without forms", code=0, problem=problem)
    affine = np.diag([*np.abs(header.pixdim), 1.0]) * [-1, 1, 1, 1]
    shape = (*header.shape, 1, 1, 1)[:3]
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return _checked(Form(name="a header without forms", code=0, affine=affine))


def affine_mm(header: RawHeader) -> NDArray[np.float64] | None:
    """Return the affine in force in mm; None where it gives no place, which `place_problem` explains."""
    affine = form_in_force(header).affine
    return None if affine is None or place_problem(header) else _scaled(affine, mm_per_unit(header))


def place_problem(header: RawHeader) -> str:
    """Say why the form in force gives voxels no place; "" where it does."""
    form = form_in_force(header)
    if form.problem or form.affine is None:
        return f"{form.name} with {form.problem}"
    farthest = float(np.abs(form.affine).max() * mm_per_unit(header))
    return f"{form.name} that reaches {farthest:.3g} mm" if farthest >= _FARTHEST_MM else ""


def grid_of(header: RawHeader, path: Path) -> Grid:
    """Return the grid of a header of one volume, in mm whatever the header's unit.

    Raises:
        UserError: other axes than three, one that is too long, a form that gives voxels no place.
    """
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
    return grid_of_shape((shape[0], shape[1], shape[2]), header, path)


def grid_of_shape(shape: Shape, header: RawHeader, path: Path) -> Grid:
    """Return the grid of volumes of three axes, one or several, of a header; UserError as of `grid_of`."""
    if max(shape) > LONGEST_SIDE:
        raise UserError(
            expected=f"a volume of at most {LONGEST_SIDE} voxels a side, as NIfTI-1 can hold",
            found=f"shape {shape}",
            where=path,
            do="cut it into pieces, or check its header",
        )
    with readable(path):
        form, affine = form_in_force(header), affine_mm(header)
    if affine is None:
        raise UserError(
            expected="an affine that gives every voxel its own place",
            found=place_problem(header),
            where=path,
            do="convert the scan again from its source, or set its sform",
        )
    reach = float(np.linalg.norm(spacing_of(affine) * (np.array(shape) - 1)))
    return Grid(shape=shape, affine=affine, slack_mm=form.turned_by * reach)


def _scaled(affine: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    return np.diag([factor, factor, factor, 1.0]) @ affine


def _spacing_problem(header: RawHeader) -> str:
    """Say why the spacings of a header, by which a qform is made, are none; "" where they are."""
    pixdim = np.array(header.pixdim)
    if np.isfinite(pixdim).all() and (pixdim != 0).all():
        return ""
    return "spacings (pixdim) of " + ", ".join(f"{value:g}" for value in pixdim)


def _checked(form: Form) -> Form:
    """Return a form without its affine, and with the problem, where that puts no voxel or several to one place."""
    affine = form.affine
    if affine is None or not np.isfinite(affine).all():
        return Form(name=form.name, code=form.code, problem="numbers that are not finite")
    with np.errstate(all="ignore"):
        spacing = spacing_of(affine)
        filled = spacing.all() and abs(np.linalg.det(affine[:3, :3] / spacing)) >= _FLAT  # not if it is NaN
    if not filled:
        return Form(name=form.name, code=form.code, problem="axes that fall together (singular; a spacing of zero?)")
    return form
