"""Masks and their references in; figures, tables and one page out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

from segfocal.errors import UserError
from segfocal.evaluate.case_metrics import DEFAULT, GROUPS, Judged, Row, Settings, judge, judge_or_say, named_labels
from segfocal.evaluate.pairing import CaseFiles, case_files, named_files
from segfocal.evaluate.results import RESULTS, write_results
from segfocal.files import check_new, make_folder
from segfocal.io import volumes
from segfocal.parallel import affordable, in_order

_BYTES_A_VOXEL = 16  # of a case while its surfaces are measured, at most


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Predictions to judge by references: one file each, or folders or patterns of files matched by their names.

    labels: values by structure name; None takes those of the report beside the prediction, or, without one, every
    value found in either mask. against: second predictions of the same cases, to compare. image: the scan or scans, for
    the pictures; None takes the report's. probabilities: maps as of `io.probabilities`, for areas under curves.
    ignore, groups, tolerance_mm, lesion_overlap: as of `Settings`. workers: processes, None as many as there are cores
    and memory for. pictures: of the worst cases on the page. output: a folder.
    """

    prediction: Path
    reference: Path
    output: Path
    labels: Mapping[str, int] | None = None
    ignore: int | None = None
    against: Path | None = None
    image: Path | None = None
    probabilities: Path | None = None
    groups: Sequence[str] = GROUPS
    tolerance_mm: float | Mapping[str, float] = 1.0
    lesion_overlap: float = 0.0
    workers: int | None = None
    pictures: int = 6
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.ignore is not None and (type(self.ignore) is not int or self.ignore < 1):
            raise UserError(
                expected="ignore to be a label value from 1 or null", found=str(self.ignore), do="change it"
            )
        unknown = [group for group in self.groups if group not in GROUPS]
        if unknown:
            raise UserError(
                expected=f"figures among {', '.join(GROUPS)}", found=f"figures={unknown}", do="choose of these"
            )
        of = self.tolerance_mm
        for name, value in of.items() if isinstance(of, Mapping) else [(DEFAULT, of)]:
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise UserError(
                    expected="tolerances ≥ 0 mm",
                    found=f"{value} for {name}",
                    do="write tolerance_mm=2, or tolerance_mm={default: 1, liver: 3}",
                )
        if not 0 <= self.lesion_overlap < 1:
            raise UserError(
                expected="lesion_overlap from 0 to below 1", found=f"{self.lesion_overlap}", do="give a share, as 0.1"
            )

    @property
    def many(self) -> bool:
        """Whether there may be more than one case, so that one bad file must not stop the rest."""
        return volumes.is_many(self.prediction) or volumes.is_many(self.reference)


def evaluate(
    comparison: Comparison,
    *,
    showing: Callable[[Sequence[CaseFiles], Iterable[Judged]], Iterable[Judged]] | None = None,
) -> list[Row]:
    """Write tables and a page into the output folder; return a row of figures for each case and structure.

    `metrics.csv`, `summary.csv`, `metrics.json`, `report.html`; `comparison.csv` of two predictions; `overlay.png` of
    one case if its scan is at hand, `overlays/` of the worst of many. Of many cases, one that cannot be judged is one
    row with status "failed". showing: wraps the cases as they are done, for a progress bar.

    Raises:
        UserError: an output that exists, files that do not match; of a single case unreadable masks, masks on different
            grids, no structure to compare.
    """
    for name in RESULTS:
        check_new(comparison.output / name, overwrite=comparison.overwrite)
    labels = comparison.labels
    settings = Settings(
        labels=None if labels is None else named_labels(labels),
        ignore=comparison.ignore,
        groups=comparison.groups,
        tolerance_mm=comparison.tolerance_mm,
        lesion_overlap=comparison.lesion_overlap,
        ranked=comparison.probabilities is not None,
    )
    cases, unmatched = _cases(comparison)
    compared = comparison.against is not None
    if comparison.many:
        done = _judged(cases, settings, compared=compared, workers=comparison.workers)
        judged = list(showing(cases, done) if showing else done)
    else:
        judged = [judge(cases[0], settings, compared=compared)]
    make_folder(comparison.output)
    write_results(
        comparison.output,
        judged,
        settings=settings,
        title=str(comparison.prediction),
        against=str(comparison.against) if comparison.against else None,
        unmatched=unmatched,
        many=comparison.many,
        pictures=comparison.pictures,
    )
    return [row for case in judged for row in case.rows]


def _cases(comparison: Comparison) -> tuple[list[CaseFiles], list[str]]:
    """Return the cases, and the names of predictions that no reference belongs to."""
    if not comparison.many:
        only = CaseFiles(
            name=comparison.prediction.name,
            reference=comparison.reference,
            prediction=comparison.prediction,
            against=comparison.against,
            image=comparison.image,
            probabilities=comparison.probabilities,
        )
        return [only], []
    predictions = named_files(comparison.prediction, what="predictions")
    cases = case_files(
        named_files(comparison.reference, what="references"),
        predictions,
        against=named_files(comparison.against, what="second predictions") if comparison.against else None,
        images=named_files(comparison.image, what="images") if comparison.image else None,
        probabilities=_maps(comparison.probabilities),
    )
    if not volumes.is_many(comparison.prediction):  # one mask among many references is about its own
        cases = [case for case in cases if case.prediction]
    if comparison.probabilities:
        _check_maps(cases, comparison.probabilities)
    used = {case.prediction for case in cases}
    return cases, [name for name, path in predictions.items() if path not in used]


def _maps(place: Path | None) -> dict[str, Path] | None:
    return named_files(place, what="probability maps") if place else None


def _check_maps(cases: Sequence[CaseFiles], place: Path) -> None:
    without = [case.name for case in cases if case.prediction and not case.probabilities]
    if without:
        raise UserError(
            expected="a probability map for each prediction",
            found=f"none for {', '.join(without[:3])}{' …' * (len(without) > 3)}",
            where=place,
            do="write the missing ones, or leave probabilities out",
        )


def _judged(cases: Sequence[CaseFiles], settings: Settings, *, compared: bool, workers: int | None) -> Iterator[Judged]:
    """Yield the cases judged, in order, several processes at a time; each holds one case."""
    work = partial(judge_or_say, settings=settings, compared=compared)
    count = _affordable(cases) if workers is None else workers
    yield from in_order(work, cases, count=count, doing="judge a case each")


def _affordable(cases: Sequence[CaseFiles]) -> int:
    few = len(cases) <= 2 * (os.cpu_count() or 1) and _largest(cases[:8]) < 1 << 22
    return 1 if few else affordable(_largest(cases) * _BYTES_A_VOXEL)  # of few starting processes would take longer


def _largest(cases: Sequence[CaseFiles]) -> int:
    """Return the number of voxels of the largest reference that can be read."""
    sizes = [0]
    for case in cases:
        try:
            sizes.append(prod(volumes.read_grid(case.reference).shape))
        except (UserError, OSError):  # told when its turn comes
            continue
    return max(sizes)
