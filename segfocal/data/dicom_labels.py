"""Labels of cases with DICOM: read onto the image's grid, segments and ROIs known by their names.

Every case reads a name as the same label value, whatever its own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from segfocal.data.case import Case, CaseList
from segfocal.data.layouts.layout import Problem, collected
from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io import volumes
from segfocal.io.dicom import labels as dicom_labels
from segfocal.io.dicom.file_kinds import is_dicom, is_label, split_address
from segfocal.io.dicom.series import read_series


def name_labels(found: CaseList, root: Path, problems: list[Problem]) -> CaseList:
    """Return the cases, those with a DICOM label with the value that each name is read as, and the values by name.

    Where no values are known, the names of all DICOM labels are numbered from 1 in alphabetical order.

    Args:
        found: the cases.
        root: where they were found, for messages.
        problems: takes labels that cannot be read, and label maps among the DICOM labels where no values are known.
    """
    cases, values = found.cases, found.label_values
    with_dicom = [case for case in cases if case.masks is None and _is_dicom_label(case.label)]
    if not with_dicom:
        return found
    if not values:
        if len(with_dicom) < len(cases):
            error = UserError(
                expected="label values by name where DICOM labels and label maps are mixed",
                found=f"{len(with_dicom)} DICOM labels among {len(cases)}",
                where=root,
                do="set data.label_names",
            )
            problems.append(Problem(error=error))
            return found
        names: set[str] = set()
        for case in with_dicom:
            with collected(problems, case=case.name):
                names |= set(dicom_labels.names(case.label))
        values = {name: value for value, name in enumerate(sorted(names), start=1)}
    value_of_name, named = tuple(values.items()), {case.name for case in with_dicom}
    with_values = tuple(replace(case, named=value_of_name) if case.name in named else case for case in cases)
    return replace(found, cases=with_values, label_values=values)


def _is_dicom_label(label: Path) -> bool:
    """Return whether a label is a DICOM segmentation or structure set, whose grid is that of its image."""
    return not volumes.is_named(label) and is_label(label)


def read_label(case: Case, image: Grid) -> Volume:
    """Read the label map of a case: a DICOM label is laid on the image's grid, a label map of a series takes its axes.

    Raises:
        UserError: as `volumes.read_labels`.
    """
    if _is_dicom_label(case.label):
        return volumes.read_labels(case.label, on=image, values=dict(case.named))
    labels = volumes.read_labels(case.label)
    return labels.oriented(image.frame) if is_dicom(case.image) else labels


def label_grid(case: Case, image: Grid, path: Path) -> Grid:
    """Return the grid of a label file of a case, in the axes of a series; a DICOM label has that of its image.

    Raises:
        UserError: a DICOM label without structures, or of another frame of reference than its series.
    """
    if not _is_dicom_label(path):
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
