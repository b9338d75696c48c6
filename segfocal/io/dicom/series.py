"""The slices of a DICOM series, from their headers: checked, in order, on one grid.

DICOM's world grows to the patient's left, back and head; ours to the right, front and head (RAS+), so x and y change
sign. Array axis 0 runs along the columns of a slice, axis 1 along its rows, axis 2 along the normal (row direction ×
column direction), on which the slices are sorted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.grid import Grid
from segfocal.io.dicom.file_kinds import header, image_files, split_address, whole
from segfocal.io.dicom.slices import TAGS, Slice, check_grey, is_localizer, slices_of, text_of

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNEVEN, _ROUNDING_MM = 0.01, 0.011  # of the spacing, and what two decimals in a header may hide
_SPACING_MM, _DIRECTIONS = 1e-4, 5e-3  # by which slices of one stack may differ: what headers round
_ONE_PLACE_MM = 1e-3  # slices nearer than that lie in one place
_SHEAR = 0.01  # of the spacing


@dataclass(frozen=True, kw_only=True)
class Series:
    """Slices that make one grid.

    Args:
        path: as it was named: a folder, `folder@SeriesInstanceUID`, or a file.
        uid: its SeriesInstanceUID, "" where an anonymiser emptied it.
        frame_of_reference: the UID of its coordinate system, "" likewise.
        modality: as DICOM names it, "CT", "MR", "PT"; "" where the header does not say.
        slices: in order along their normal.
        grid: shape and affine (RAS+, mm) of axes column, row, slice.
    """

    path: Path
    uid: str
    frame_of_reference: str
    modality: str
    slices: tuple[Slice, ...]
    grid: Grid

    @property
    def files(self) -> list[Path]:
        """The files, each once, in the order of their slices."""
        return list(dict.fromkeys(one.path for one in self.slices))


def read_series(path: str | Path) -> Series:
    """Read the headers of a series: a folder, `folder@SeriesInstanceUID`, or one file of many frames.

    Raises:
        UserError: no slices, or several series and none chosen; colours; a slice without a place in the patient;
            slices of different sizes or directions; two in one place, missing ones, uneven spacing; a tilted gantry.
    """
    path = Path(path)
    place, uid = split_address(path)
    chosen = _choose([(file, _header(file)) for file in image_files(path)], uid, place)
    for file, elements in chosen:
        check_grey(elements, file)
    slices = [one for file, elements in chosen for one in slices_of(elements, file)]
    _check_alike(slices, place)
    normal = slices[0].normal
    slices.sort(key=lambda one: float(one.position @ normal))
    step = _step(slices, place)
    first = chosen[0][1]
    return Series(
        path=path,
        uid=text_of(first, "SeriesInstanceUID"),
        frame_of_reference=text_of(first, "FrameOfReferenceUID"),
        modality=text_of(first, "Modality"),
        slices=tuple(slices),
        grid=_grid(slices, step),
    )


def series_uids(folder: Path) -> list[str]:
    """Return the SeriesInstanceUIDs of a folder's slices, those of localizers left out where there are others."""
    series = _by_uid([(file, _header(file)) for file in image_files(folder)])
    return list(_stacks(series) or series)


_Headers = list[tuple[Path, Any]]


def _header(file: Path) -> Any:
    elements = header(file, tags=list(TAGS))
    if not elements.get("Rows") or not elements.get("Columns"):
        raise UserError(
            expected="a whole DICOM image",
            found=f"{file.stat().st_size} bytes without rows and columns (cut short?)",
            where=file,
            do="copy or export it again, or take it out of the folder",
        )
    return elements


def _choose(headers: _Headers, uid: str | None, place: Path) -> _Headers:
    """Return the headers of one series; localizers are no rivals of slices."""
    series = _by_uid(headers)
    if uid is not None and uid in series:
        return series[uid]
    stacks = _stacks(series)
    if uid is None and len(stacks or series) == 1:
        return next(iter((stacks or series).values()))
    listed = "; ".join(f"{name or '(no UID)'}: {_described(found)}" for name, found in series.items())
    raise UserError(
        expected="one DICOM series" if uid is None else f"the series {uid}",
        found=f"{len(series)} ({listed})",
        where=place,
        do=f"name one as {place.name}@SeriesInstanceUID, or give each a folder of its own",
    )


def _by_uid(headers: _Headers) -> dict[str, _Headers]:
    series: dict[str, _Headers] = {}
    for file, elements in headers:
        series.setdefault(text_of(elements, "SeriesInstanceUID"), []).append((file, elements))
    return series


def _stacks(series: dict[str, _Headers]) -> dict[str, _Headers]:
    return {name: found for name, found in series.items() if not all(is_localizer(one) for _, one in found)}


def _described(headers: _Headers) -> str:
    first = headers[0][1]
    words = [text_of(first, "Modality"), text_of(first, "SeriesDescription"), f"{len(headers)} files"]
    if all(is_localizer(elements) for _, elements in headers):
        words.append("a localizer")
    return ", ".join(word for word in words if word)


def _check_alike(slices: Sequence[Slice], place: Path) -> None:
    """Raise UserError unless all slices have the size, pixel spacing and directions of most of them."""
    directions = [np.r_[one.row, one.column] + 0.0 for one in slices]
    for expected, values, tolerance, text in (
        ("slices of one size", [one.shape for one in slices], 0.0, "{:.0f}×{:.0f} pixels"),
        ("slices of one pixel spacing", [one.spacing_mm for one in slices], _SPACING_MM, "{:.4f}×{:.4f} mm"),
        ("slices of one direction", directions, _DIRECTIONS, "directions" + 6 * " {:.2f}"),
    ):
        kinds = _kinds(np.array(values, dtype=np.float64), tolerance)
        counts = Counter(kinds).most_common()
        if len(counts) > 1:
            (usual, many), (odd, few) = counts[0], counts[-1]
            raise UserError(
                expected=expected,
                found=f"{many} of {text.format(*values[usual])}, {few} of {text.format(*values[odd])} "
                f"({slices[odd].path.name})",
                where=place,
                do="keep the slices of one stack in the folder (localizers out), or export the series again",
            )


def _kinds(values: NDArray, tolerance: float) -> list[int]:
    """Return for each row of values [n,k] the first row that it equals, within a tolerance in every column."""
    kinds: list[int] = []
    for value in values:
        alike = (first for first in dict.fromkeys(kinds) if np.abs(values[first] - value).max() <= tolerance)
        kinds.append(next(alike, len(kinds)))
    return kinds


def _step(slices: Sequence[Slice], place: Path) -> NDArray:
    """Return the way [3] from one slice to the next; UserError unless it is the same all along the normal."""
    normal = slices[0].normal
    if len(slices) == 1:
        return normal * slices[0].thickness_mm
    heights = np.array([one.position @ normal for one in slices])
    gaps = np.diff(heights)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    twice = np.flatnonzero(gaps < _ONE_PLACE_MM)
    if twice.size:
        raise _in_one_place(slices[int(twice[0])], slices[int(twice[0]) + 1], more=twice.size - 1, place=place)
    wrong = np.flatnonzero(np.abs(gaps - usual) > _UNEVEN * usual + _ROUNDING_MM)
    if wrong.size:
        raise _uneven(gaps, usual, slices[int(wrong[0])], slices[int(wrong[0]) + 1], place)
    step = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    aside = float(np.linalg.norm(step - (step @ normal) * normal))
    if aside > _SHEAR * usual:
        raise UserError(
            expected="slices stacked along their normal",
            found=f"each {aside:.2f} mm aside of the one before (a gantry tilted by "
            f"{np.degrees(np.arctan2(aside, usual)):.1f}°)",
            where=place,
            do="resample the scan to an upright grid and save it as NIfTI",
        )
    return step


def _in_one_place(one: Slice, other: Slice, *, more: int, place: Path) -> UserError:
    """Return the error of two slices in one place, which says whether one is a copy."""
    height = float(one.position @ one.normal)
    if one.path == other.path:
        names, equal = f"frames {one.frame + 1} and {other.frame + 1} of {one.path.name}", False
    else:
        names, equal = " and ".join(sorted([one.path.name, other.path.name])), _equal(one.path, other.path)
    contents = "with equal contents" if equal else "with different contents"
    others = f", and {more} more such pairs" if more else ""
    return UserError(
        expected="one slice in a place",
        found=f"{names} both at {height:.2f} mm, {contents}{others}",
        where=place,
        do="take the copies out of the folder" if equal else "keep one time, phase or echo in the folder",
    )


def _equal(one: Path, other: Path) -> bool:
    """Return whether two files are equal, or hold equal pixels under headers of their own."""
    if one.read_bytes() == other.read_bytes():
        return True
    pixels = [whole(path).get("PixelData") for path in (one, other)]
    return pixels[0] is not None and pixels[0] == pixels[1]


def _uneven(gaps: NDArray, usual: float, before: Slice, after: Slice, place: Path) -> UserError:
    gap = float((after.position - before.position) @ before.normal)
    ratio = gap / usual
    between = f"between {before.path.name} and {after.path.name}"
    if ratio > 1.5 and abs(ratio - round(ratio)) < 0.05:
        found = f"{round(ratio) - 1} missing {between}: {gap:.2f} mm where others are {usual:.2f} mm apart"
    else:
        found = f"gaps of {gaps.min():.2f} to {gaps.max():.2f} mm, {gap:.2f} mm {between}"
    return UserError(
        expected="slices at even distances",
        found=found,
        where=place,
        do="export the whole series again, or resample it",
    )


def _grid(slices: Sequence[Slice], step: NDArray) -> Grid:
    rows, columns = slices[0].shape
    return Grid(shape=(columns, rows, len(slices)), affine=affine_of(slices[0], step))


def affine_of(one: Slice, step: NDArray) -> NDArray[np.float64]:
    """Return the affine [4,4] from (column, row, slice) to RAS+ millimetres of a stack that begins with a slice."""
    affine = np.eye(4)
    affine[:3, 0] = one.row * one.spacing_mm[1]
    affine[:3, 1] = one.column * one.spacing_mm[0]
    affine[:3, 2], affine[:3, 3] = step, one.position
    return TO_RAS @ affine + 0.0
