"""The walk of an evaluation: pair the files, judge each case, sum up, write tables, pictures and the page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path

from segfocal.cluster.in_order import results_in_order
from segfocal.errors import UserError
from segfocal.evaluate.judge import JudgedCase, judge, judge_or_note, marked
from segfocal.evaluate.options import MaskEvaluation
from segfocal.evaluate.pairing import CaseFiles, case_files, named_files
from segfocal.evaluate.results import check_results, claim_results, write_results
from segfocal.folder_lock import only_one
from segfocal.io import volumes
from segfocal.io.passed_over import PassedOver, Reason, left_over
from segfocal.io.volumes import is_many
from segfocal.parallel import affordable, in_order

Showing = Callable[[Sequence[CaseFiles], Iterable[JudgedCase]], Iterable[JudgedCase]]
Telling = Callable[[Sequence[PassedOver]], None]
_BYTES_A_VOXEL = 24  # of a case while its surfaces are measured or its lesions numbered, at most


def evaluate(
    evaluation: MaskEvaluation, *, showing: Showing | None = None, telling: Telling = lambda passed: None
) -> list[JudgedCase]:
    """Write tables, pictures and a page into the output folder; return every case with its metrics.

    The files are metrics.csv, summary.csv, metrics.json and report.html; comparison.csv and metrics_against.csv of two
    predictions; overlay.png of one case whose scan is at hand, overlays/ of the worst of many. Of many cases, one that
    cannot be judged is noted and the others go on. `showing` wraps the cases as they are done, for a progress bar;
    `telling` is given what lies in folders of masks and is not judged.

    Raises:
        UserError: an output that exists, files that do not match; of a single case unreadable masks, masks on different
            grids.
    """
    check_results(evaluation)
    cases, unmatched = _paired(evaluation)
    passed = _passed_over(cases, unmatched, evaluation)
    telling(passed)
    check_results(evaluation, cases)
    if evaluation.many:
        done = _judged(cases, evaluation)
        judged = list(showing(cases, done) if showing else done)
    else:
        judged = [judge(cases[0], evaluation.settings, compared=evaluation.compared, ranked=evaluation.ranked)]
    judged = marked(judged, evaluation.settings)
    structures = [metrics.structure for case in judged for metrics in case.metrics]
    if structures:
        evaluation.settings.check_tolerances(structures)
    with only_one(evaluation.output, doing="write an evaluation"):
        claim_results(evaluation, judged)  # not before: another may have written since
        write_results(judged, evaluation, unmatched=list(unmatched), passed=passed)
    return judged


def _paired(evaluation: MaskEvaluation) -> tuple[list[CaseFiles], dict[str, Path]]:
    """Return the cases, and the predictions by name that no reference belongs to."""
    if not evaluation.many:
        only = CaseFiles(
            name=evaluation.prediction.name,
            reference=evaluation.reference,
            prediction=evaluation.prediction,
            against=evaluation.against,
            image=evaluation.image,
            probabilities=evaluation.probabilities,
        )
        return [only], {}
    predictions = named_files(evaluation.prediction, what="predictions")
    cases = case_files(
        named_files(evaluation.reference, what="references"),
        predictions,
        against=_named(evaluation.against, what="second predictions"),
        images=_named(evaluation.image, what="images"),
        probabilities=_named(evaluation.probabilities, what="probability maps"),
    )
    if not is_many(evaluation.prediction):  # one mask among many references belongs to its own
        cases = [case for case in cases if case.prediction]
    if evaluation.probabilities:
        _check_maps(cases, evaluation.probabilities)
    used = {case.prediction for case in cases}
    return cases, {name: path for name, path in predictions.items() if path not in used}


def _passed_over(
    cases: Sequence[CaseFiles], unmatched: Mapping[str, Path], evaluation: MaskEvaluation
) -> list[PassedOver]:
    """Return what lies in the folders of masks and is not judged: other formats, folders, predictions unmatched."""
    passed = [PassedOver(path=path, reason=Reason.NO_REFERENCE) for path in unmatched.values()]
    used = [path for case in cases for path in (case.reference, case.prediction, case.against) if path]
    for place in dict.fromkeys((evaluation.reference, evaluation.prediction, evaluation.against)):
        if place is None or not is_many(place) or not place.is_dir():
            continue
        left = left_over(place, [*used, *unmatched.values()], Reason.OUTSIDE)
        passed += [one for one in left if one.reason is Reason.OTHER_FORMAT]
        for folder in sorted(path for path in place.glob("[!.]*") if path.is_dir()):
            holds = folder != evaluation.output and any(volumes.is_named(path) for path in folder.glob("[!.]*"))
            passed += [PassedOver(path=folder, reason=Reason.OUTSIDE)] * holds
    return passed


def _named(place: Path | None, *, what: str) -> Mapping[str, Path] | None:
    return named_files(place, what=what) if place else None


def _check_maps(cases: Sequence[CaseFiles], place: Path) -> None:
    without = [case.name for case in cases if case.prediction and not case.probabilities]
    if without:
        raise UserError(
            expected="a probability map for each prediction",
            found=f"none for {', '.join(without[:3])}{' …' * (len(without) > 3)}",
            where=place,
            do="write the missing ones, or leave probabilities out",
        )


def _judged(cases: Sequence[CaseFiles], evaluation: MaskEvaluation) -> Iterator[JudgedCase]:
    """Yield the cases judged, in order, by several processes; each holds one case at a time."""
    work = partial(judge_or_note, settings=evaluation.settings, compared=evaluation.compared, ranked=evaluation.ranked)
    if evaluation.cluster.kind != "none":

        def failed(files: CaseFiles, why: str) -> JudgedCase:
            return JudgedCase(files=files, compared=evaluation.compared, failure=files.without_folders(why))

        folders = [evaluation.prediction, evaluation.reference]
        yield from results_in_order(evaluation.cluster, work, cases, failed=failed, folders=folders)
        return
    count = _affordable(cases) if evaluation.workers is None else evaluation.workers
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
        except (UserError, OSError):  # noted when the case is judged
            continue
    return max(sizes)
