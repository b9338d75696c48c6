"""The report that `predict` leaves beside a mask (NAME.json): which structures it holds, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segfocal.files import read_json
from segfocal.io.volumes import stem


@dataclass(frozen=True, kw_only=True)
class PredictionReport:
    """What an evaluation reads of a report; all empty where a mask has none or another program wrote it.

    Args:
        structures: label values of the mask by structure name, as written there; not checked.
        made_of: by structure name, the reference's label values whose union the structure is.
        scan: the scan that was segmented.
        bundle: the folder of the model, of several the first.
    """

    structures: Any = None
    made_of: Mapping[str, list[Any]] = field(default_factory=dict)
    scan: Path | None = None
    bundle: Path | None = None


def read_prediction_report(mask: Path | None) -> PredictionReport:
    """Return the report beside a mask; UserError for a file that is not JSON."""
    path = mask.with_name(stem(mask) + ".json") if mask else None
    report = read_json(path) if path and path.is_file() else None
    if not isinstance(report, dict) or "segfocal" not in report:
        return PredictionReport()
    made = report.get("made_of", {})
    if not isinstance(made, dict) or not all(isinstance(parts, list) for parts in made.values()):
        made = {}
    bundle = report.get("bundle")
    first = bundle[0] if isinstance(bundle, list) else bundle
    return PredictionReport(
        structures=report.get("structures"),
        made_of=made,
        scan=Path(report["input"]) if "input" in report else None,
        bundle=Path(first) if first else None,
    )
