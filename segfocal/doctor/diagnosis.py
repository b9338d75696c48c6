"""The options of an examination, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segfocal.cluster.cluster_settings import HERE, ClusterSettings
from segfocal.doctor.checks import Finding
from segfocal.doctor.repair import FileRepair
from segfocal.errors import UserError
from segfocal.io.passed_over import PassedOver

MODALITIES = ("auto", "ct", "other")


@dataclass(frozen=True, kw_only=True)
class Examination:
    """A data set to examine, and how.

    Args:
        root: the folder or file that `read_cases` takes.
        output: a folder for the reports and mended copies.
        label_names: names of the label values, as of `read_cases`; None takes those of the data set.
        ignore: the label value, or its name, of voxels that count for nothing, as of `read_cases`.
        modality: "ct" demands Hounsfield units, "other" does not, "auto" decides by dataset.json and the images.
        fix: write mended copies, and `cases.csv` to train on.
        same_shape: a label of its image's shape takes the image's header, however far apart the two are.
        workers: processes, a case each; None for as many as there are cores and memory for.
        pictures: cases on the page, worst first; more would make it slow to open.
        overwrite: replace earlier results.
        cluster: whose workers examine the cases; by default `workers` processes of this machine do.
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
    cluster: ClusterSettings = HERE

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise UserError(
                expected=f"modality of {', '.join(MODALITIES)}", found=f"modality={self.modality}", do="choose one"
            )


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found, and what was mended.

    Args:
        findings: worst first.
        cases: how many cases were examined.
        repairs: what was done to copies.
        left_out: the cases that cases.csv lacks, with the reason.
        ignored: the label value of voxels that count for nothing, None without one.
        passed_over: what lies there and training does not read.
    """

    findings: list[Finding]
    cases: int
    repairs: list[FileRepair] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    ignored: int | None = None
    passed_over: tuple[PassedOver, ...] = ()

    def count(self, severity: str) -> int:
        """Return the number of findings of a severity."""
        return sum(one.severity == severity for one in self.findings)
