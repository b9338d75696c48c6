"""Cases of DICOM: a folder of patients, each with a series of slices and a label, NIfTI, DICOM-SEG or RTSTRUCT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segfocal.data.case import Case, CaseList
from segfocal.data.layouts.layout import Contents, Layout, Problem, collected
from segfocal.errors import UserError
from segfocal.io import nifti
from segfocal.io.dicom import labels
from segfocal.io.dicom.file_kinds import is_dicom, is_label
from segfocal.io.dicom.series import series_uids
from segfocal.io.passed_over import Reason, left_over
from segfocal.io.walk import walk


def is_folder(root: Path) -> bool:
    """Return whether a folder holds patients: DICOM slices in or below at least half of its folders."""
    patients = _folders(root) if root.is_dir() else []
    found = sum(any(is_dicom(folder) for folder in _with_below(patient)) for patient in patients)
    return found > 0 and 2 * found >= len(patients)


def read_folder(root: Path) -> Contents:
    """Return a case for each folder of `root`, a patient's, by its name.

    In it and below lie one series and one label. Of several series the one counts that a DICOM label refers to. A
    patient without a series or a label, or with several, is a problem and no case.
    """
    cases, problems = [], list[Problem]()
    for patient in _folders(root):
        with collected(problems, case=patient.name):
            cases.append(_case(patient))
    passed = tuple(left_over(root, (), Reason.OUTSIDE))
    return Contents(found=CaseList(cases=tuple(cases), label_values={}, passed_over=passed), problems=tuple(problems))


def _case(patient: Path) -> Case:
    folders = _with_below(patient)
    files = [file for folder in folders for file in sorted(folder.glob("[!.]*")) if file.is_file()]
    maps = [file for file in files if nifti.is_nifti(file)]
    dicom_labels = [file for file in files if not nifti.is_nifti(file) and is_label(file)]
    if len(maps) + len(dicom_labels) != 1:
        listed = ", ".join(str(file.relative_to(patient)) for file in [*maps, *dicom_labels][:5]) or "none"
        raise UserError(
            expected="one label a patient: a NIfTI file, a DICOM segmentation or an RTSTRUCT",
            found=listed,
            where=patient,
            do="leave one of them there, or name each pair in a CSV (image,label)",
        )
    label = (maps + dicom_labels)[0]
    return Case(name=patient.name, image=_image(patient, folders, label if dicom_labels else None), label=label)


def _image(patient: Path, folders: Sequence[Path], dicom_label: Path | None) -> Path:
    """Return the address of the series of a patient. dicom_label: its label if that is DICOM, and names its series."""
    found = [(folder, series_uids(folder)) for folder in folders if is_dicom(folder)]
    addresses = {
        folder if len(uids) == 1 else folder.with_name(f"{folder.name}@{uid}"): uid
        for folder, uids in found
        for uid in uids
    }
    if len(addresses) > 1 and dicom_label is not None:
        referred = labels.reference(dicom_label).series
        hits = [address for address, uid in addresses.items() if uid in referred]
        if len(hits) == 1:
            return hits[0]
    if len(addresses) != 1:
        listed = ", ".join(str(address.relative_to(patient)) for address in list(addresses)[:5]) or "none"
        raise UserError(
            expected="one DICOM series a patient, or a DICOM label that refers to one",
            found=listed,
            where=patient,
            do="leave one of them there, or name each pair in a CSV (image,label)",
        )
    return next(iter(addresses))


def _folders(root: Path) -> list[Path]:
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _with_below(folder: Path) -> list[Path]:
    return walk(folder).folders


LAYOUT = Layout(
    description="a folder of patients with DICOM slices and a label each", knows=is_folder, read=read_folder
)
