"""One case judged: its masks read, each structure measured and, with probability maps, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from segfocal.errors import UserError, note, noted
from segfocal.evaluate.case_lesions import MOST_LISTED, StructureLesions, Surroundings, structure_lesions
from segfocal.evaluate.case_masks import CaseMasks, read_masks
from segfocal.evaluate.case_metrics import CaseMetrics, Status, case_metrics, measured_structures
from segfocal.evaluate.options import EvaluationSettings
from segfocal.evaluate.pairing import CaseFiles
from segfocal.evaluate.ranks import ranks_of
from segfocal.grid import Grid
from segfocal.io import volumes
from segfocal.metrics import Candidates
from segfocal.plain_text import visible


@dataclass(frozen=True, kw_only=True)
class JudgedCase:
    """A case and its metrics, or why it has none.

    Args:
        files: of the case.
        metrics: one record for each structure; none where the case failed, or where no structure is named and no mask
            holds one.
        lesions: of each structure, one by one; empty where lesions are not counted.
        candidates: of the lesions of each structure, by its name; empty without probability maps.
        against: the metrics of the second prediction; empty where none is compared.
        compared: whether there is a second prediction.
        unions: by label value of the prediction, the reference's own values whose union it is.
        failure: why the case could not be judged; None where it could.
    """

    files: CaseFiles
    metrics: Sequence[CaseMetrics] = ()
    lesions: Sequence[StructureLesions] = ()
    candidates: Mapping[str, Candidates] = field(default_factory=dict)
    against: Sequence[CaseMetrics] = ()
    compared: bool = False
    unions: Mapping[int, Sequence[int]] = field(default_factory=dict)
    failure: str | None = None

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the prediction as columns of a table; of a failed case one, with the message."""
        rows = self._failed() or [metrics.row() for metrics in self.metrics] or self._empty()
        return self._with_file(rows, self.files.prediction)

    def lesion_rows(self) -> list[dict[str, Any]]:
        """Return the lesions of reference and prediction as columns of a table."""
        return [lesion.row() for each in self.lesions for lesion in each.listed]

    def crowded(self) -> list[str]:
        """Say for each mask and structure with more lesions than are listed how many there are."""
        names = {"reference": self.files.reference.name, "prediction": (self.files.prediction or Path()).name}
        return [
            f"{names[mask]}: {count} lesions of {each.structure}, of which lesions.csv lists the {MOST_LISTED} largest"
            for each in self.lesions
            for mask, count in each.crowded.items()
        ]

    def rows_against(self) -> list[dict[str, Any]]:
        """Return the same for the second prediction; none without one."""
        if not self.compared:
            return []
        rows = self._failed() or [metrics.row() for metrics in self.against] or self._empty()
        return self._with_file(rows, self.files.against)

    def with_message(self, message: str) -> JudgedCase:
        """Return the case with a message in every row."""
        metrics, against = (
            [replace(one, message=message) for one in several] for several in (self.metrics, self.against)
        )
        return replace(self, metrics=metrics, against=against)

    @staticmethod
    def _with_file(rows: Sequence[Mapping[str, Any]], prediction: Path | None) -> list[dict[str, Any]]:
        """Return rows with the name of the file that was judged, as the last column."""
        return [{**row, "prediction": prediction.name if prediction else ""} for row in rows]

    def _failed(self) -> list[dict[str, Any]]:
        if self.failure is None:
            return []
        return [{"case": self.files.name, "structure": "", "status": "failed", "message": self.failure}]

    def _empty(self) -> list[dict[str, Any]]:
        status: Status = "both_empty" if self.files.prediction else "missing_prediction"
        message = "no mask holds a structure: labels={liver: 5} counts the case in the means"
        return [{"case": self.files.name, "structure": "", "status": status, "message": message}]


def judge(files: CaseFiles, settings: EvaluationSettings, *, compared: bool, ranked: bool) -> JudgedCase:
    """Read the masks of a case and measure each structure.

    Args:
        files: of the case; a prediction that is not there is scored as an empty mask.
        settings: what to measure.
        compared: measure the second prediction too.
        ranked: add the areas under curves, from the probability maps; a case without maps gets those of chance.

    Raises:
        UserError: unreadable masks, masks on different grids.
    """
    with noted() as notes:
        masks = read_masks(files, settings, compared=compared)
        scan = _scan(files, masks.reference.grid) if "lesions" in settings.groups else None
    first, lesions = _measured(files, masks, settings, scan)
    against = [
        metrics
        for other in masks.predictions[1:]
        for metrics in case_metrics(files.name, other, masks.reference, masks.labels, settings)
    ]
    candidates: dict[str, Candidates] = {}
    if ranked and masks.labels:
        ranks = ranks_of(files, masks, settings)
        areas = {name: each.histogram for name, each in ranks.items()}
        first = [
            replace(metrics, roc_auc=areas[metrics.structure].auc, pr_auc=areas[metrics.structure].average_precision)
            for metrics in first
        ]
        candidates = {name: each.candidates for name, each in ranks.items() if each.candidates is not None}
    judged = JudgedCase(
        files=files,
        metrics=first,
        lesions=lesions,
        candidates=candidates,
        against=against,
        compared=compared,
        unions=masks.unions,
    )
    told = [files.without_folders("; ".join(notes))] * bool(notes) + judged.crowded()
    return judged.with_message("; ".join(told)) if told else judged


def _measured(
    files: CaseFiles, masks: CaseMasks, settings: EvaluationSettings, scan: NDArray | None
) -> tuple[list[CaseMetrics], list[StructureLesions]]:
    """Return the metrics of each structure of the prediction and, where they are counted, its lesions one by one."""
    found: list[CaseMetrics] = []
    lesions: list[StructureLesions] = []
    grid = masks.reference.grid
    each = measured_structures(files.name, masks.predictions[0], masks.reference, masks.labels, settings)
    for metrics, counted in each:
        found.append(metrics)
        if counted is not None:
            around = Surroundings(
                case=files.name, structure=metrics.structure, grid=grid, corner=counted.corner, scan=scan
            )
            lesions.append(structure_lesions(counted, around, settings))
    return found, lesions


def _scan(files: CaseFiles, grid: Grid) -> NDArray | None:
    """Return the first channel of the scan that was named, on the grid of the masks; None, with a note, of another."""
    if files.image is None:
        return None
    try:
        scan = volumes.read(files.image).channels()[0]
    except (UserError, OSError) as error:
        note(f"lesions have no intensities: {error}")
        return None
    on_it = scan.on(grid)
    if on_it is None:
        note(f"lesions have no intensities: {files.image} differs in {volumes.difference(grid, scan.grid)}")
        return None
    return on_it.array


def judge_or_note(files: CaseFiles, settings: EvaluationSettings, *, compared: bool, ranked: bool) -> JudgedCase:
    """Judge a case; return one that cannot be judged with the message of its failure instead of raising it.

    Args:
        files: as in `judge`.
        settings: as in `judge`.
        compared: as in `judge`.
        ranked: as in `judge`.
    """
    try:
        return judge(files, settings, compared=compared, ranked=ranked)
    except (UserError, OSError) as error:
        return JudgedCase(files=files, compared=compared, failure=files.without_folders(visible(str(error))))


def marked(judged: Sequence[JudgedCase], settings: EvaluationSettings) -> list[JudgedCase]:
    """Return cases with the status "nowhere" for structures whose label value, asked for, no mask of any case holds."""
    found = [metrics for case in judged for metrics in (*case.metrics, *case.against)]
    there = {metrics.structure for metrics in found if metrics.tp + metrics.fp + metrics.fn}
    if not settings.labels or there >= set(settings.labels):
        return list(judged)

    def mark(several: Sequence[CaseMetrics]) -> list[CaseMetrics]:
        return [each if each.structure in there else replace(each, status="nowhere") for each in several]

    return [replace(case, metrics=mark(case.metrics), against=mark(case.against)) for case in judged]
