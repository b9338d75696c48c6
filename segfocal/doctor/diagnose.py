"""The examination of a data set: findings, a table, a page; and, if asked, mended copies with a list to train on."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segfocal import __version__
from segfocal.data.case import Case
from segfocal.data.cases import files_read
from segfocal.doctor.case_list import CheckedCaseList, check_case_list
from segfocal.doctor.case_report import CaseReport
from segfocal.doctor.checks import CHECKS, SEVERITIES, Check, Finding, worst_first
from segfocal.doctor.dataset_checks import dataset_findings
from segfocal.doctor.diagnosis import Diagnosis, Examination
from segfocal.doctor.examine_all import examine_all
from segfocal.doctor.page import write_doctor_page
from segfocal.doctor.repair import FileRepair, RepairedCase, copies_of, listed_name, repair_case
from segfocal.errors import UserError
from segfocal.files import claim, make_folder, write_json, write_text
from segfocal.io import passed_over
from segfocal.plain_names import folded

_RESULTS = ("doctor.json", "doctor.html")
_RESULTS_OF_FIX = ("cases.csv", "fixes.jsonl", "label_names.json")


def diagnose(
    examination: Examination,
    *,
    showing: Callable[[Sequence[Case], Iterable[CaseReport]], Iterable[CaseReport]] | None = None,
) -> Diagnosis:
    """Examine a data set, write `doctor.json` and `doctor.html`, and with fix the mended copies too.

    Args:
        examination: the data set, and how to examine it.
        showing: wraps the reports as they are made, to show progress; None shows nothing.

    Raises:
        UserError: nothing there to examine, an output that exists, or mended copies that would replace originals.
    """
    output = examination.output
    results = [output / name for name in (*_RESULTS, *(_RESULTS_OF_FIX if examination.fix else ()))]
    claim(results, [], overwrite=examination.overwrite)  # soon, as listing the cases may take long
    listed = check_case_list(examination.root, label_names=examination.label_names, ignore=examination.ignore)
    if examination.fix:
        _check_output_folder(listed.cases, output)
        results += [path for case in _named_once(listed.cases) for path in copies_of(case, output)]
    read = files_read(listed.cases, examination.root, examination.label_names)
    claim(results, read, overwrite=examination.overwrite)
    make_folder(output)
    done = examine_all(listed.cases, names=listed.allowed, workers=examination.workers, cluster=examination.cluster)
    reports = list(showing(listed.cases, done) if showing else done)
    of_cases = [one for report in reports for one in report.findings]
    findings = worst_first([*listed.findings, *of_cases, *_of_dataset(reports, listed, examination)])
    diagnosis = Diagnosis(findings=findings, cases=len(reports))
    if examination.fix:
        diagnosis = _repair(reports, listed, examination, findings)
    diagnosis = replace(diagnosis, passed_over=listed.passed_over)
    write_json(output / "doctor.json", _as_json(diagnosis, reports, examination))
    write_doctor_page(output / "doctor.html", diagnosis, reports, examination)
    return diagnosis


def _of_dataset(reports: Sequence[CaseReport], listed: CheckedCaseList, examination: Examination) -> list[Finding]:
    modality = listed.modality if examination.modality == "auto" else examination.modality
    return dataset_findings(reports, names=listed.label_values, modality=modality)


def _check_output_folder(cases: Sequence[Case], output: Path) -> None:
    """Raise UserError when a mended copy could take the place of an original."""
    taken = {(output / name).resolve() for name in ("images", "labels")}
    if any(path.resolve().parent in taken for case in cases for path in (*case.images, case.label)):
        raise UserError(
            expected="an output folder apart from the data",
            found="originals in its images/ or labels/",
            where=output,
            do="choose another output",
        )
    if any(case.masks is not None for case in cases):
        raise UserError(
            expected="label maps to mend",
            found="masks of one object a file",
            where=output,
            do="leave fix=true out: such data can be examined only",
        )


def _repair(
    reports: Sequence[CaseReport], listed: CheckedCaseList, examination: Examination, findings: list[Finding]
) -> Diagnosis:
    """Mend what can be mended case by case; write the list of cases and the log."""
    output, repairs, left_out = examination.output, list[FileRepair](), dict[str, str]()
    kept: list[Case] = []
    single = {case.name for case in _named_once([report.case for report in reports])}
    for report in reports:
        mended = RepairedCase(case=report.case, repairs=(), after=report)
        if report.case.name in single:
            mended = repair_case(report, output, names=listed.allowed, same_shape=examination.same_shape)
        repairs += mended.repairs
        errors = [one for one in mended.after.findings if one.severity == "error"]
        if errors:
            left_out[report.case.name] = f"{errors[0].check}: {errors[0].found}"
        else:
            kept.append(replace(mended.case, name=listed_name(mended.case.name)))
    write_text(output / "cases.csv", _csv(kept, output))
    if listed.label_values:
        named = {str(value): name for name, value in listed.label_values.items()}
        write_json(output / "label_names.json", named)
    lines = [json.dumps(repair._asdict(), ensure_ascii=False) for repair in repairs]
    lines += [json.dumps({"case": name, "action": "left out", "why": why}) for name, why in left_out.items()]
    renamed = {name: listed_name(name) for name in single if name not in left_out and name != listed_name(name)}
    lines += [json.dumps({"case": old, "action": f"called {new} in cases.csv"}) for old, new in renamed.items()]
    write_text(output / "fixes.jsonl", "".join(line + "\n" for line in lines))
    return Diagnosis(findings=findings, cases=len(reports), repairs=repairs, left_out=left_out, ignored=listed.ignored)


def _named_once(cases: Sequence[Case]) -> list[Case]:
    """Return the cases whose name, made fit for a file, no other case has."""
    times = Counter(folded(listed_name(case.name)) for case in cases)
    return [case for case in cases if times[folded(listed_name(case.name))] == 1]


def _csv(cases: Sequence[Case], folder: Path) -> str:
    """Return the list of cases to train on: copies by their place in the folder, originals by their full path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "image", "label", "split", "group"))
    for case in cases:
        images = ";".join(_place(path, folder) for path in case.images)
        writer.writerow((case.name, images, _place(case.label, folder), case.split, case.group))
    return text.getvalue()


def _place(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else os.path.abspath(path)


def _as_json(diagnosis: Diagnosis, reports: Sequence[CaseReport], examination: Examination) -> dict[str, Any]:
    return {
        "segfocal": __version__,
        "data": str(examination.root),
        "cases": diagnosis.cases,
        "passed_over": passed_over.rows(diagnosis.passed_over, examination.root),
        "counts": {severity: diagnosis.count(severity) for severity in SEVERITIES},
        "findings": [one.row() for one in diagnosis.findings],
        "mended": [repair._asdict() for repair in diagnosis.repairs],
        "left_out": diagnosis.left_out,
        "images": [_facts(report) for report in reports],
    }


def _facts(report: CaseReport) -> dict[str, Any]:
    facts: dict[str, Any] = {"case": report.case.name, "split": report.case.split, "image": str(report.case.image)}
    if report.grid is not None:
        facts |= {"shape": report.grid.shape, "frame": report.grid.frame}
        facts["spacing_mm"] = [round(value, 4) for value in report.grid.spacing_mm]
    if report.scale is not None:
        facts |= {"lowest": report.scale.low, "highest": report.scale.high}
    return facts | {"label_voxels": report.voxels}


def table_rows(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """Return a row for each check that found something, worst first: how often, an example, what to do."""
    groups: dict[Check, list[Finding]] = {}
    for one in findings:
        groups.setdefault(one.check, []).append(one)
    return [
        {
            "severity": group[0].severity,
            "check": check.value,
            "times": str(len(group)),
            "for example": f"{group[0].case or 'data set'}: {group[0].found}",
            "what to do": CHECKS[check].do + (" (fix=true does)" if CHECKS[check].mended else ""),
        }
        for check, group in groups.items()
    ]
