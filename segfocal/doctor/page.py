"""The doctor's page: what was found, worst first, what was mended, and a picture of each case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segfocal.doctor.case_report import CaseReport
from segfocal.doctor.checks import CHECKS, SEVERITIES, Check, Finding
from segfocal.doctor.diagnosis import Diagnosis, Examination
from segfocal.report.html import write_page

_MOST_ROWS = 50  # of one check


def write_doctor_page(
    path: Path, diagnosis: Diagnosis, reports: Sequence[CaseReport], examination: Examination
) -> None:
    """Write the page; the pictures are inside it, so the one file can be mailed.

    Args:
        path: of the page.
        diagnosis: what was found and mended.
        reports: of all cases, in any order.
        examination: names the data set, and how many pictures are shown.
    """
    groups: dict[Check, list[Finding]] = {}
    for one in diagnosis.findings:
        groups.setdefault(one.check, []).append(one)
    by_case: dict[str, list[Finding]] = {}
    for one in diagnosis.findings:
        by_case.setdefault(one.case, []).append(one)
    ordered = sorted(reports, key=lambda report: _badness(by_case.get(report.case.name, [])))
    values = {
        "title": str(examination.root),
        "diagnosis": diagnosis,
        "groups": groups,
        "checks": CHECKS,
        "by_case": by_case,
        "shown": ordered[: examination.pictures],
        "left_out": max(0, len(ordered) - examination.pictures),
        "most": _MOST_ROWS,
    }
    write_page(path, "doctor/page.html.j2", values)


def _badness(findings: Sequence[Finding]) -> int:
    """Return a number that is the smaller the worse a case is."""
    return min((SEVERITIES.index(one.severity) for one in findings), default=len(SEVERITIES))
