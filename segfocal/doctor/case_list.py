"""The case list of a data set as training reads it, with everything in it that training would refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.data.case import Case
from segfocal.data.cases import read_contents
from segfocal.data.layouts.layout import Problem
from segfocal.doctor.checks import Check, Finding
from segfocal.errors import Fault
from segfocal.io.passed_over import PassedOver, Reason
from segfocal.io.volumes import stem

_CHECKS = {Fault.NAME_TWICE: Check.NAME_TWICE, Fault.FILE_TWICE: Check.FILE_TWICE}
_FOUND_WITH_ITS_FILE = (Fault.MISSING, Fault.DAMAGED)  # examining the case finds these, with the file


@dataclass(frozen=True, kw_only=True)
class CheckedCaseList:
    """The cases of a data set before any scan is read.

    Args:
        cases: all that can be named, also those that training would refuse.
        label_values: label values by structure name; empty where no names are known.
        allowed: label_values with whatever else a label may hold: parts of regions, and the value to ignore.
        ignored: the label value of voxels that count for nothing, None without one.
        findings: what is wrong with the list.
        passed_over: what lies there and training does not read.
        modality: "ct" or "other" where dataset.json says so, "" where nothing does.
    """

    cases: tuple[Case, ...]
    label_values: dict[str, int]
    allowed: dict[str, int]
    ignored: int | None
    findings: list[Finding]
    passed_over: tuple[PassedOver, ...]
    modality: str


def check_case_list(
    root: str | Path, *, label_names: str | Mapping[str, Any] | None = None, ignore: str | int | None = None
) -> CheckedCaseList:
    """List the cases of a data set; what training would refuse is a finding, not an error.

    Args:
        root: as of `read_cases`; so are label_names and ignore.
        label_names: names take the place of those of the data set, and of its regions.
        ignore: the label value, or its name, of voxels that count for nothing.

    Raises:
        UserError: nothing there, or nothing by which a case could be named.
    """
    root = Path(root)
    contents = read_contents(root, label_names=label_names, ignore=ignore)
    found = contents.found
    if not found.cases:
        raise contents.problems[0].error
    allowed = dict(found.label_values)
    examined = {case.name for case in found.cases}
    files = {path for case in found.cases for path in (*case.images, *case.label_files)}
    if allowed and label_names is None:
        allowed |= contents.region_values
    if allowed and found.ignored is not None:
        allowed.setdefault("ignore", found.ignored)
    return CheckedCaseList(
        cases=found.cases,
        label_values=dict(found.label_values),
        allowed=allowed,
        ignored=found.ignored,
        findings=[
            *(
                _finding(one, root)
                for one in contents.problems
                if one.error.fault not in _FOUND_WITH_ITS_FILE or not (one.case in examined or one.file in files)
            ),
            *_passed_over(found.passed_over),
        ],
        passed_over=found.passed_over,
        modality=contents.modality,
    )


def _passed_over(passed: Sequence[PassedOver]) -> Iterator[Finding]:
    """Yield a finding for each file or folder that was passed over, one for all pictures beside scans."""
    pictures = [one.path for one in passed if one.reason is Reason.PREVIEW]
    if pictures:
        yield Finding(check=Check.PREVIEW, found=Reason.PREVIEW.words(len(pictures)), file=pictures[0].parent)
    for one in passed:
        if one.reason is Reason.PREVIEW:
            continue
        check, found = Check.PASSED_OVER, one.reason.words(1).removeprefix("1 ")
        if one.reason is Reason.LABEL_WITHOUT_IMAGE:
            check, found = Check.LABEL_WITHOUT_IMAGE, "no image of its name"
        yield Finding(check=check, found=found, case=stem(one.path), file=one.path)


def _finding(problem: Problem, root: Path) -> Finding:
    error = problem.error
    check = _CHECKS.get(error.fault)
    if check is None:
        return Finding(
            check=Check.CASE_LIST, found=f"{error.found}; {error.do}", case=problem.case, file=problem.file or root
        )
    return Finding(check=check, found=error.found, case=problem.case, file=problem.file)
