"""What a DICOM segmentation says of the slices it was made of: patient, study and places, as their headers have them.

Headers hold what scanners and anonymisers left. Text is decoded by its own character set, since the segmentation is
written in UTF-8; a value that no writer takes, such as a date of 00000000, is written empty and named in a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from segfocal.errors import UserError, UserNote, warn
from segfocal.io.dicom.file_kinds import extra, header
from segfocal.io.dicom.series import Series
from segfocal.io.dicom.slices import text_of

CHARACTERS = "ISO_IR 192"  # UTF-8: holds the names of all patients and structures
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
_SHARED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")  # by all slices
_OWN = "SOPInstanceUID"
_OPTIONAL = (  # elements that a segmentation must have, if empty, and an anonymiser may have taken out
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
_COPIED_GROUPS = (0x0008, 0x0010, 0x0012, 0x0020, 0x0032, 0x0038)  # of patient, study and clinical trial
_SEXES = ("M", "F", "O")
_GEOMETRY = ("ImageOrientationPatient", "PixelSpacing")


class ValuesLeftEmpty(UserNote):
    """Elements of a patient or a study that a segmentation has empty, because their values are none."""


def check_uids(series: Series) -> None:
    """Raise UserError unless every slice has the UIDs that a segmentation refers to.

    Those of study, series and frame of reference are the same in all slices, that of the slice in no other.
    """
    seen: dict[str, set[str]] = {name: set() for name in _NEEDED}
    for file in series.files:
        elements = header(file, tags=list(_NEEDED))
        for name in _NEEDED:
            uid, before = text_of(elements, name), seen[name]
            found = ""
            if not uid:
                found = "an empty one"
            elif name in _SHARED and before - {uid}:
                found = "another one than in the slices before"
            elif name == _OWN and uid in before:
                found = "that of a slice before"
            if found:
                raise UserError(
                    expected=f"slices with a {name}, which a segmentation refers to",
                    found=found,
                    where=file,
                    do="name an output ending in .nii.gz, or use the series before its UIDs were changed",
                )
            before.add(uid)


def sources_of(series: Series, *, first_only: bool = False) -> list[Any]:
    """Return the headers of a series' files as a segmentation needs them; warn of values that are left empty.

    Args:
        series: whose grid they all have: directions and pixel spacing are those of the first, to the last digit.
        first_only: for a trial, without the warning.
    """
    files = series.files[:1] if first_only else series.files
    sources = [header(file) for file in files]
    emptied = _repair(sources[0])
    for elements in sources:
        for name in _OPTIONAL:
            if name not in elements:
                setattr(elements, name, "")
        if len(series.files) == len(series.slices):
            _place(elements, sources[0], series)
    if emptied and not first_only:
        message = f"left empty in the segmentation, for want of a valid value in {files[0]}: {', '.join(emptied)}"
        warn(message, ValuesLeftEmpty, stacklevel=2)
    return sources


def _place(elements: Any, first: Any, series: Series) -> None:
    """Give a slice the directions and pixel spacing of the first, from which it may differ by rounding."""
    for name in _GEOMETRY:
        if name in first:
            setattr(elements, name, first[name].value)
    if not elements.get("SliceThickness"):
        elements.SliceThickness = f"{np.linalg.norm(series.grid.affine[:3, 2]):.10g}"


def _repair(elements: Any) -> list[str]:
    """Decode the elements that are copied, empty those without a valid value, and return their names."""
    emptied = []
    for tag in [tag for tag in elements.keys() if tag.group in _COPIED_GROUPS]:  # noqa: SIM118, pydicom iterates values
        name = extra("pydicom.datadict").keyword_for_tag(tag) or str(tag)
        if not _is_valid(elements, tag, name):
            del elements[tag]
            if name in _OPTIONAL:
                setattr(elements, name, "")
            emptied.append(name)
    return emptied


def _is_valid(elements: Any, tag: Any, name: str) -> bool:
    """Return whether an element can be decoded and written; its text is decoded afterwards, in sequences too."""
    try:
        element = elements[tag]
        for item in element.value if element.VR == "SQ" else ():
            item.decode()
        if name in _CHECKS and element.value not in (None, ""):
            _CHECKS[name](element.value)
        with extra("pydicom.filebase").DicomBytesIO() as trial:
            trial.is_little_endian, trial.is_implicit_VR = True, False
            extra("pydicom.filewriter").write_data_element(trial, element, ["utf_8"])
    except Exception:  # pydicom meets what is not as it should be with whatever its parsers raise
        return False
    return True


def _check_date(value: Any) -> None:
    extra("pydicom.valuerep").DA(value)


def _check_time(value: Any) -> None:
    extra("pydicom.valuerep").TM(value)


def _check_sex(value: Any) -> None:
    if value not in _SEXES:
        raise ValueError(value)


_CHECKS: dict[str, Callable[[Any], None]] = {
    "PatientBirthDate": _check_date,
    "StudyDate": _check_date,
    "StudyTime": _check_time,
    "PatientSex": _check_sex,
}
