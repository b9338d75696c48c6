"""The report that `predict` leaves beside a mask (NAME.json): which structures it holds, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from segfocal.files import read_json
from segfocal.foreign.schema import Schema, checked
from segfocal.io.volumes import stem


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a path without a NUL")
    return text


PathText = Annotated[str, AfterValidator(_without_nul)]


class ReportFacts(Schema):
    """NAME.json beside a mask, as far as an evaluation reads it; each may be left out.

    Args:
        structures: label values by structure name.
        made_of: by structure name, the reference's label values whose union it is.
        files: the files of each structure, by its name.
        input: the scan that was segmented.
        bundle: the folder of the model, or those of several.
    """

    structures: dict[str, int] | None = None
    made_of: dict[str, list[int]] | None = None
    files: dict[str, list[str]] | None = None
    input: PathText | None = None
    bundle: PathText | list[PathText] | None = None


@dataclass(frozen=True, kw_only=True)
class PredictionReport:
    """What an evaluation reads of a report; all empty where a mask has none or another program wrote it.

    Args:
        structures: label values of the mask by structure name, as written there; not checked.
        made_of: by structure name, the reference's label values whose union the structure is.
        scan: the scan that was segmented.
        bundle: the folder of the model, of several the first.
        only: the one structure that the mask holds, as value 1 (`predict separate=true`); None for a label map.
    """

    structures: Any = None
    made_of: Mapping[str, list[Any]] = field(default_factory=dict)
    scan: Path | None = None
    bundle: Path | None = None
    only: str | None = None


def read_prediction_report(mask: Path | None) -> PredictionReport:
    """Return the report beside a mask, or beside the label map whose structure it is (mask_liver.nii.gz: mask.json).

    Raises:
        UserError: a file that is not JSON.
    """
    report, only = _report_of(mask) if mask else ({}, None)
    if not report:
        return PredictionReport()
    made = report.get("made_of") or {}
    bundle = report.get("bundle")
    first = next(iter(bundle), None) if isinstance(bundle, list) else bundle
    return PredictionReport(
        structures=report.get("structures"),
        made_of=made,
        scan=Path(report["input"]) if report.get("input") else None,
        bundle=Path(first) if first else None,
        only=only,
    )


def files_of_report(mask: Path) -> list[Path]:
    """Return the files that are read because of a mask's report: the report itself, and the scan it names."""
    own = stem(mask)
    ends = [len(own), *(i for i, letter in enumerate(own) if letter == "_")]
    found = [mask.with_name(own[:end] + ".json") for end in ends if end]
    scan = read_prediction_report(mask).scan
    return [path for path in found if path.is_file()] + ([scan] if scan else [])


def _report_of(mask: Path) -> tuple[dict[str, Any], str | None]:
    """Return the report of a mask and, of a mask that is no label map, its one structure; empty without a report."""
    own = stem(mask)
    report = _read(mask.with_name(own + ".json"))
    if report:
        return report, None
    for place in reversed([i for i, letter in enumerate(own) if letter == "_"]):
        report = _read(mask.with_name(own[:place] + ".json"))
        files = report.get("files")
        for name, written in (files or {}).items():
            if mask.name in written and name in (report.get("structures") or {}):
                return report, name
    return {}, None


def _read(path: Path) -> dict[str, Any]:
    report = read_json(path) if path.is_file() else None
    if not isinstance(report, dict) or "segfocal" not in report:
        return {}
    checked(report, ReportFacts, where=path, do="move that file away, or segment the scan again")
    return report
