"""One slice of a DICOM series, or one frame of a file of many, by what its header says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import Fault, UserError
from segfocal.io.dicom.file_kinds import readable

TAGS = (
    *("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "SeriesDescription", "Modality", "ImageType"),
    *("FrameOfReferenceUID", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
_LARGEST = 1e30  # that slope and intercept may be, so that values are finite in float32
_COSINES = 1e-3  # by which directions may miss unit length and a right angle


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One slice, by the header of its file. Vectors are in DICOM's world: left, back, head (LPS), in mm.

    Args:
        path: its file.
        frame: which frame of the file, 0 of a file of one.
        shape: rows, columns.
        position: [3], the centre of the first pixel.
        row: [3], the unit direction along a row: of growing columns.
        column: [3], the unit direction along a column: of growing rows.
        spacing_mm: between rows, between columns.
        thickness_mm: of the slice, or the distance to the next where the header says it; 1 where it says neither.
        slope: what a stored value is multiplied by.
        intercept: what is added then.
    """

    path: Path
    frame: int
    shape: tuple[int, int]
    position: NDArray
    row: NDArray
    column: NDArray
    spacing_mm: tuple[float, float]
    thickness_mm: float
    slope: float
    intercept: float

    @property
    def normal(self) -> NDArray:
        """The direction [3] in which slices are counted."""
        return np.cross(self.row, self.column)


def slices_of(elements: Any, path: Path) -> list[Slice]:
    """Return the slices of one file, one or many frames, by its header; UserError where that does not place them."""
    with readable(path):
        frames = elements.get("PerFrameFunctionalGroupsSequence")
        shared = elements.get("SharedFunctionalGroupsSequence")
        count = int(elements.get("NumberOfFrames") or 1)
        if frames:
            if len(frames) != count:
                raise UserError(
                    expected=f"a place for each of {count} frames",
                    found=f"{len(frames)} places (PerFrameFunctionalGroupsSequence)",
                    where=path,
                    do="copy or export the file again",
                    fault=Fault.DAMAGED,
                )
            return [_slice([*_groups(shared), group, elements], path, frame=i) for i, group in enumerate(frames)]
        if count > 1:
            raise UserError(
                expected="frames that each say where they lie",
                found=f"{count} frames without functional groups",
                where=path,
                do="convert it to NIfTI with a tool that knows this kind of file",
            )
        return [_slice([elements], path, frame=0)]


def _groups(sequence: Any) -> list[Any]:
    return [sequence[0]] if sequence else []


def check_grey(elements: Any, path: Path) -> None:
    """Raise UserError unless a file's pixels are grey levels that slope and intercept rescale."""
    kind = text_of(elements, "PhotometricInterpretation") or "MONOCHROME2"
    if int(elements.get("SamplesPerPixel") or 1) != 1 or kind != "MONOCHROME2":
        raise UserError(expected="MONOCHROME2 pixels", found=kind, where=path, do="give the slices of a CT, MR or PET")
    if elements.get("ModalityLUTSequence"):
        raise UserError(
            expected="pixels rescaled by slope and intercept",
            found="a table (ModalityLUTSequence)",
            where=path,
            do="convert it to NIfTI",
        )


def _slice(groups: Sequence[Any], path: Path, *, frame: int) -> Slice:
    """Return one slice by the groups of elements that describe it, the dataset itself the last."""

    def find(group: str, name: str, default: Any = None) -> Any:
        for part in groups:
            inner = part.get(group)
            value = (inner[0] if inner else part).get(name)
            if value not in (None, ""):
                return value
        return default

    def need(group: str, name: str, count: int) -> NDArray:
        value = find(group, name)
        numbers = np.array(value if value is not None else [], dtype=np.float64)
        if numbers.shape != (count,) or not np.isfinite(numbers).all():
            localizer = " (a localizer)" if is_localizer(groups[-1]) else ""
            raise UserError(
                expected=f"a slice with {name}, {count} numbers",
                found=("none" if value is None else str(value)) + localizer,
                where=path,
                do="take it out of the folder if it is no slice, or export the series again",
            )
        return numbers

    directions = need("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    row, column = directions[:3], directions[3:]
    across, along = need("PixelMeasuresSequence", "PixelSpacing", 2)
    upright = np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=_COSINES)
    slope = float(find("PixelValueTransformationSequence", "RescaleSlope", 1.0))
    intercept = float(find("PixelValueTransformationSequence", "RescaleIntercept", 0.0))
    if not upright or min(across, along) <= 0 or not _rescales(slope, intercept):
        raise UserError(
            expected="perpendicular unit directions, a pixel spacing above 0 and a rescaling that keeps values apart",
            found=f"directions {directions.tolist()}, spacing {across}×{along}, slope {slope}, intercept {intercept}",
            where=path,
            do="export the series again",
        )
    thickness = find("PixelMeasuresSequence", "SpacingBetweenSlices") or find("PixelMeasuresSequence", "SliceThickness")
    return Slice(
        path=path,
        frame=frame,
        shape=(int(groups[-1].Rows), int(groups[-1].Columns)),
        position=need("PlanePositionSequence", "ImagePositionPatient", 3),
        row=row,
        column=column,
        spacing_mm=(float(across), float(along)),
        thickness_mm=abs(float(thickness or 0)) or 1.0,
        slope=slope,
        intercept=intercept,
    )


def _rescales(slope: float, intercept: float) -> bool:
    """Return whether float32 can tell stored values apart once they are rescaled."""
    return bool(0 < abs(slope) < _LARGEST and abs(intercept) < min(abs(slope) * 2**32, _LARGEST))


def is_localizer(elements: Any) -> bool:
    """Return whether a header calls its image a localizer (scout)."""
    return "LOCALIZER" in [str(word).upper() for word in elements.get("ImageType") or []]


def text_of(elements: Any, name: str) -> str:
    """Return an element as text of one line, "" where it is missing or empty; a control character is a space."""
    text = str(elements.get(name) or "")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
