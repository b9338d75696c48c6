"""What a doctor's examination is asked, and what it found: the records the diagnosis and its page share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segfocal.doctor.checks import Finding
from segfocal.doctor.repair import FileRepair
from segfocal.errors import UserError

MODALITIES = ("auto", "ct", "other")


@dataclass(frozen=True, kw_only=True)
class Examination:
    """A data set to examine. root, label_names, ignore: as of `read_cases`. output: a folder for the reports.

    modality: ct, other, or auto by dataset.json and the images. fix: write mended copies and `cases.csv` into output.
    same_shape: as of `repair_case`. workers: processes. pictures: of cases on the page, worst first.
    """

    root: Path
    output: Path
    label_names: str | Mapping[str, Any] | None = None
    ignore: str | int | None = None
    modality: str = "auto"
    fix: bool = False
    same_shape: bool = False
    workers: int | None = None
    pictures: int = 200
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise UserError(
                expected=f"modality of {', '.join(MODALITIES)}", found=f"modality={self.modality}", do="choose one"
            )


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found, worst first, and what was mended. left_out: cases that cases.csv lacks, with the reason.

    ignored: the label value of voxels that count for nothing.
    """

    findings: list[Finding]
    cases: int
    changes: list[FileRepair] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    ignored: int | None = None

    def count(self, severity: str) -> int:
        """Return the number of findings of a severity."""
        return sum(one.severity == severity for one in self.findings)
