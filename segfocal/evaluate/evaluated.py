"""An evaluation that lies in a folder, read again: its cases with their files and the Dice of each structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from segfocal.errors import UserError
from segfocal.evaluate.options import EvaluationSettings
from segfocal.evaluate.pairing import CaseFiles
from segfocal.evaluate.prediction_report import PathText
from segfocal.evaluate.results import FACTS
from segfocal.files import read_json
from segfocal.foreign.schema import Schema, checked

_AGAIN = "evaluate again: metrics.json then names its files"


class ListedFiles(Schema):
    """The files of a case, relative to the folder; None for one that is not there.

    Args:
        case: its name.
        reference: the true label map.
        prediction: the mask that was judged.
        image: the scan.
    """

    case: str
    reference: PathText
    prediction: PathText | None = None
    image: PathText | None = None


class ListedRow(Schema):
    """What was measured of a structure of a case.

    Args:
        case: its name.
        structure: its name; "" of a case that failed, or in which no mask holds any.
        label: its value.
        dice: in [0,1].
        status: which of the masks hold it, or "failed".
        message: what went wrong.
    """

    case: str
    structure: str
    label: int | None = None
    dice: float | None = None
    status: str
    message: str = ""


class ListedFacts(Schema):
    """metrics.json, as far as it is read again.

    Args:
        labels: that were asked for; None: those of the masks.
        ignore: the value of voxels that were left out.
        cases: a row for each case and structure.
        files: of each case.
    """

    labels: dict[str, int] | None = None
    ignore: int | None = None
    cases: list[ListedRow]
    files: list[ListedFiles]


@dataclass(frozen=True, kw_only=True)
class EvaluatedCase:
    """A case of an evaluation.

    Args:
        files: of the case; the scan is the one that was named, or that the prediction's report names.
        dice: in [0,1], by structure; empty where the case failed, or no mask holds a structure.
        failure: why it could not be judged; "" where it could.
    """

    files: CaseFiles
    dice: Mapping[str, float]
    failure: str = ""

    @property
    def mean_dice(self) -> float | None:
        """The mean over structures; None without any."""
        return fmean(self.dice.values()) if self.dice else None


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """An evaluation.

    Args:
        folder: that it lies in.
        settings: by which its masks are read, metrics aside.
        structures: in their order.
        cases: the worst first: those that failed, then by their mean Dice; cases without a structure last.
    """

    folder: Path
    settings: EvaluationSettings
    structures: Sequence[str]
    cases: Sequence[EvaluatedCase]


def is_evaluated(folder: Path) -> bool:
    """Return whether an evaluation lies in a folder."""
    return (folder / FACTS).is_file()


def read_evaluated(folder: Path) -> Evaluated:
    """Read the evaluation in a folder; its files need not be there.

    Raises:
        UserError: none, or one of a version that did not name its files.
    """
    value = read_json(folder / FACTS)
    if isinstance(value, dict) and "cases" in value and "files" not in value:
        raise UserError(
            expected="an evaluation that names its files", found="one without", where=folder / FACTS, do=_AGAIN
        )
    facts = checked(value, ListedFacts, where=folder / FACTS, do=_AGAIN)
    dice: dict[str, dict[str, float]] = {}
    failures = {row.case: row.message for row in facts.cases if row.status == "failed"}
    for row in facts.cases:
        if row.dice is not None and row.status != "nowhere":
            dice.setdefault(row.case, {})[row.structure] = row.dice
    cases = [
        EvaluatedCase(files=_found(files, folder), dice=dice.get(files.case, {}), failure=failures.get(files.case, ""))
        for files in facts.files
    ]
    return Evaluated(
        folder=folder,
        settings=EvaluationSettings(labels=facts.labels, ignore=facts.ignore, groups=("overlap",)),
        structures=list(dict.fromkeys(row.structure for row in facts.cases if row.dice is not None)),
        cases=sorted(cases, key=worst_first),
    )


def worst_first(case: EvaluatedCase) -> tuple[bool, float]:
    """Return a key that sorts the worst cases first."""
    mean = case.mean_dice
    return not case.failure and mean is None, -1.0 if mean is None else mean


def _found(files: ListedFiles, folder: Path) -> CaseFiles:
    return CaseFiles(
        name=files.case,
        reference=folder / files.reference,
        prediction=folder / files.prediction if files.prediction else None,
        image=folder / files.image if files.image else None,
    )
