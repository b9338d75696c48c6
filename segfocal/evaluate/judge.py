"""One case judged: its masks read, each structure measured and, with probability maps, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segfocal.errors import UserError, noted
from segfocal.evaluate.case_masks import CaseMasks, read_masks
from segfocal.evaluate.case_metrics import CaseMetrics, Status, case_metrics
from segfocal.evaluate.options import EvaluationSettings
from segfocal.evaluate.pairing import CaseFiles
from segfocal.io import volumes
from segfocal.io.nifti.probability_maps import open_maps
from segfocal.metrics import RankHistogram
from segfocal.plain_text import visible


@dataclass(frozen=True, kw_only=True)
class JudgedCase:
    """A case and its metrics, or why it has none.

    Args:
        files: of the case.
        metrics: one record for each structure; none where the case failed, or where no structure is named and no mask
            holds one.
        against: the same of the second prediction; empty where none is compared.
        compared: whether there is a second prediction.
        unions: by label value of the prediction, the reference's own values whose union it is.
        failure: why the case could not be judged; None where it could.
    """

    files: CaseFiles
    metrics: Sequence[CaseMetrics] = ()
    against: Sequence[CaseMetrics] = ()
    compared: bool = False
    unions: Mapping[int, Sequence[int]] = field(default_factory=dict)
    failure: str | None = None

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the prediction as columns of a table; of a failed case one, with the message."""
        rows = self._failed() or [metrics.row() for metrics in self.metrics] or self._empty()
        return self._with_file(rows, self.files.prediction)

    def rows_against(self) -> list[dict[str, Any]]:
        """Return the same for the second prediction; none without one."""
        if not self.compared:
            return []
        rows = self._failed() or [metrics.row() for metrics in self.against] or self._empty()
        return self._with_file(rows, self.files.against)

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
    first, *second = [
        case_metrics(files.name, prediction, masks.reference, masks.labels, settings)
        for prediction in masks.predictions
    ]
    if ranked and masks.labels:
        ranks = _ranks(files, masks)
        first = [
            replace(metrics, roc_auc=ranks[metrics.structure].auc, pr_auc=ranks[metrics.structure].average_precision)
            for metrics in first
        ]
    against = second[0] if compared else []
    if notes:
        said = files.without_folders("; ".join(notes))
        first, against = ([replace(one, message=said) for one in several] for several in (first, against))
    return JudgedCase(files=files, metrics=first, against=against, compared=compared, unions=masks.unions)


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


def _ranks(files: CaseFiles, masks: CaseMasks) -> dict[str, RankHistogram]:
    """Return the histogram of each structure's probabilities, read slab by slab; empty ones without maps."""
    import torch  # seconds to load, and only probabilities need it

    labels, reference = masks.labels, masks.reference
    maps = open_maps(files.probabilities) if files.probabilities else None
    histograms = {name: RankHistogram() for name in labels}
    if maps is None:
        return histograms
    turn = reference.grid.turn_to(maps.grid)
    if turn is None or maps.maps not in (len(labels), len(labels) + 1):
        raise UserError(
            expected=f"{len(labels)} probability maps on the reference's grid, one for each of {', '.join(labels)} (or "
            "one more, the first being the background)",
            found=volumes.difference(reference.grid, maps.grid) if turn is None else f"{maps.maps} maps",
            where=files.probabilities,
            do="write one map a structure along the fourth axis, and name the structures in their order with labels=",
        )
    truth, left_out = turn.apply(reference.array), None if masks.ignored is None else turn.apply(masks.ignored)
    background = maps.maps - len(labels)
    names = [None] * background + list(labels)
    for k, z, values in maps.slabs():
        name = names[k]
        if name is not None:
            inside = np.ascontiguousarray(truth[:, :, z] == labels[name])
            if left_out is not None:
                kept = ~left_out[:, :, z]
                values, inside = values[kept], inside[kept]
            histograms[name].add_probabilities(torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(inside))
    return histograms
