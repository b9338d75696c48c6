"""Cases of DICOM: a folder of patients, each with a series of slices and a label, NIfTI, DICOM-SEG or RTSTRUCT.

Segments and ROIs are known by their names. Every case reads a name as the same label value, whatever its own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segfocal.data.case import Case, CaseList
from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io import dicom_labels, nifti, volumes
from segfocal.io.dicom_files import is_dicom, is_label, split_address
from segfocal.io.dicom_series import read_series, series_uids


def is_folder(root: Path) -> bool:
    """Return whether a folder holds patients: DICOM slices in or below at least half of its folders."""
    patients = _folders(root) if root.is_dir() else []
    found = sum(any(is_dicom(folder) for folder in _with_below(patient)) for patient in patients)
    return found > 0 and 2 * found >= len(patients)


def read_folder(root: Path) -> CaseList:
    """Return a case for each folder of `root`, a patient's, by its name.

    In it and below lie one series and one label. Of several series the one counts that a DICOM label refers to.

    Raises:
        UserError: a patient without a series or a label, or with several.
    """
    return CaseList(cases=tuple(_case(patient) for patient in _folders(root)), label_values={})


def _case(patient: Path) -> Case:
    folders = _with_below(patient)
    files = [file for folder in folders for file in sorted(folder.glob("[!.]*")) if file.is_file()]
    maps = [file for file in files if file.name.endswith(nifti.SUFFIXES)]
    drawn = [file for file in files if not file.name.endswith(nifti.SUFFIXES) and is_label(file)]
    if len(maps) + len(drawn) != 1:
        listed = ", ".join(str(file.relative_to(patient)) for file in [*maps, *drawn][:5]) or "none"
        raise UserError(
            expected="one label a patient: a NIfTI file, a DICOM segmentation or an RTSTRUCT",
            found=listed,
            where=patient,
            do="leave one of them there, or name each pair in a CSV (image,label)",
        )
    label = (maps + drawn)[0]
    return Case(name=patient.name, image=_image(patient, folders, label if drawn else None), label=label)


def _image(patient: Path, folders: Sequence[Path], drawn: Path | None) -> Path:
    """Return the address of the series of a patient."""
    found = [(folder, series_uids(folder)) for folder in folders if is_dicom(folder)]
    addresses = {
        folder if len(uids) == 1 else folder.with_name(f"{folder.name}@{uid}"): uid
        for folder, uids in found
        for uid in uids
    }
    if len(addresses) > 1 and drawn is not None:
        referred = dicom_labels.reference(drawn).series
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
    below = (one for one in folder.rglob("[!.]*") if one.is_dir())
    return [folder, *sorted(one for one in below if not any(p.startswith(".") for p in one.relative_to(folder).parts))]


def name_labels(found: CaseList, root: Path) -> CaseList:
    """Return the cases, those with DICOM labels told which value each name is read as, with the values by name.

    Where no values are known, the names of all labels are numbered from 1 in alphabetical order.

    Raises:
        UserError: label maps among the labels and no known values, a damaged label.
    """
    cases, values = found.cases, found.label_values
    drawn = [case for case in cases if case.masks is None and _is_drawn(case.label)]
    if not drawn:
        return found
    if not values:
        if len(drawn) < len(cases):
            raise UserError(
                expected="label values by name where DICOM labels and label maps are mixed",
                found=f"{len(drawn)} DICOM labels among {len(cases)}",
                where=root,
                do="set data.label_names",
            )
        names = sorted({name for case in drawn for name in dicom_labels.names(case.label)})
        values = {name: value for value, name in enumerate(names, start=1)}
    named, of_dicom = tuple(values.items()), {case.name for case in drawn}
    told = tuple(replace(case, named=named) if case.name in of_dicom else case for case in cases)
    return replace(found, cases=told, label_values=values)


def _is_drawn(label: Path) -> bool:
    return not label.name.endswith(volumes.SUFFIXES) and is_label(label)


def read_label(case: Case, image: Grid) -> Volume:
    """Read the label map of a case: a DICOM label is drawn on the image's grid, a label map of a series takes its axes.

    Raises:
        UserError: as `volumes.read_labels`.
    """
    if _is_drawn(case.label):
        return volumes.read_labels(case.label, on=image, values=dict(case.named))
    labels = volumes.read_labels(case.label)
    return labels.oriented(image.frame) if is_dicom(case.image) else labels


def label_grid(case: Case, image: Grid, path: Path) -> Grid:
    """Return the grid of a label file of a case, in the axes of a series; a DICOM label has that of its image.

    Raises:
        UserError: a DICOM label without structures, or of another frame of reference than its series.
    """
    if not _is_drawn(path):
        grid = volumes.read_grid(path)
        return grid.oriented(grid.orientation_to(image.frame)) if is_dicom(case.image) else grid
    dicom_labels.names(path)
    places = dicom_labels.reference(path).frames_of_reference
    own = read_series(case.image).frame_of_reference if is_dicom(case.image) else ""
    if own and places and own not in places:
        raise UserError(
            expected=f"a label in the frame of reference of its series, {own}",
            found=places[0],
            where=path,
            do="pair it with the series it was drawn on",
        )
    return image


def settings(case: Case) -> Mapping[str, Any]:
    """Return what besides its files shapes a case of DICOM: the series of several, the values of names."""
    _, uid = split_address(case.image)
    return ({"series": uid} if uid else {}) | ({"named": case.named} if case.named else {})
