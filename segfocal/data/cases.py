"""The list of cases: whatever lies at a path, read by the source that knows its layout, and checked.

The layouts are in `segfocal.data.layouts`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from segfocal.data import dicom_labels
from segfocal.data.case import SPLITS, Case, CaseList
from segfocal.data.layouts import SOURCES
from segfocal.data.splits import hold_out
from segfocal.errors import UserError
from segfocal.files import read_json
from segfocal.io import volumes

__all__ = ["SPLITS", "Case", "CaseList", "hold_out", "read_cases"]


def read_cases(
    root: str | Path, *, label_names: str | Mapping[str, Any] | None = None, ignore: str | int | None = None
) -> CaseList:
    """Read the cases that lie at a path, in any layout that a source knows.

    label_names: structure names by label value, as a mapping or a JSON file ("names.json" or "names.json#key" for
    one object inside it); in place of those of dataset.json. ignore: the label value, or its name, of voxels that count
    for nothing; by default that which dataset.json calls "ignore".

    Raises:
        UserError: nothing there, a layout not recognised, a listed file missing, two cases of one name.
    """
    root = Path(root)
    if not root.exists():
        raise UserError(expected="a data folder or CSV", found="nothing there", where=root, do="set data.root")
    source = next((source for source in SOURCES if source.knows(root)), None)
    if source is None:
        raise UserError(
            expected=", ".join(source.layout for source in SOURCES[:-1]) + f", or {SOURCES[-1].layout}",
            found="none of these",
            where=root,
            do="set data.root to such a file or folder",
        )
    cases = source.read(root)
    _check(list(cases.cases), root)
    if label_names is not None:
        cases = replace(cases, label_values=_read_label_names(label_names))
    cases = dicom_labels.name_labels(cases, root)
    if ignore is not None:
        cases = replace(cases, ignored=_value_to_ignore(ignore, cases.label_values))
    return cases


def _value_to_ignore(ignore: str | int, label_values: Mapping[str, int]) -> int:
    if str(ignore) in label_values:
        return label_values[str(ignore)]
    if not str(ignore).isdecimal() or int(ignore) < 1:
        raise UserError(
            expected="data.ignore to be a label value from 1 or the name of a structure",
            found=str(ignore),
            do=f"choose one of {', '.join(list(label_values)[:12])}" if label_values else "give the value",
        )
    return int(ignore)


def _check(cases: list[Case], root: Path) -> None:
    if not cases:
        raise UserError(expected="at least one case", found="none", where=root, do="add .nii.gz or .png files")
    for case in cases:
        if case.name != Path(case.name).name:
            raise UserError(
                expected="case names fit for a file name", found=case.name, where=root, do="leave out the slashes"
            )
        for path in (*case.images, *((case.label,) if case.masks is None else case.label_files)):
            if not volumes.exists(path):
                raise UserError(
                    expected=f"the {'image' if path in case.images else 'label'} of case {case.name}",
                    found="no such file",
                    where=path,
                    do="add it or take the case off the list",
                )
    odd = next((case for case in cases if len(case.more) != len(cases[0].more)), None)
    if odd is not None:
        raise UserError(
            expected=f"as many channels of every case, {len(cases[0].images)} as {cases[0].name} has",
            found=f"{len(odd.images)} of {odd.name}",
            where=odd.image.parent,
            do="add the missing files or take the case off the list",
        )
    twice = sorted(name for name, count in Counter(case.name for case in cases).items() if count > 1)
    if twice:
        raise UserError(
            expected="one case a name", found=f"{twice[0]} twice", where=root, do="give each a name of its own"
        )
    count = Counter(image.resolve() for case in cases for image in case.images)
    for case in cases:
        again = next((image for image in case.images if count[image.resolve()] > 1), None)
        if again is not None:
            raise UserError(
                expected="each scan once, in one split", found=f"{again.name} twice", where=root, do=f"drop {case.name}"
            )


def _read_label_names(source: str | Mapping[str, Any]) -> dict[str, int]:
    path, _, key = source.partition("#") if isinstance(source, str) else ("", "", "")
    named: Any = read_json(Path(path)) if path else source
    try:
        return {str(name): int(value) for value, name in (named[key] if key else named).items()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            expected="structure names by label value, such as {1: liver}" + (f", under the key {key}" if key else ""),
            found=f"{error.__class__.__name__}: {error}",
            where=path or "data.label_names",
            do="mend data.label_names",
        ) from error
