"""What an evaluation leaves in its folder: tables, JSON, pictures and the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import segfocal
from segfocal.errors import UserError
from segfocal.evaluate.judge import JudgedCase
from segfocal.evaluate.lesion_summary import summarise_lesions
from segfocal.evaluate.options import MaskEvaluation
from segfocal.evaluate.page import EvaluationPage, write_evaluation_page
from segfocal.evaluate.pairing import CaseFiles
from segfocal.evaluate.pictures import (
    DICE_PLOT,
    FROC_PLOT,
    OVERLAY,
    OVERLAYS,
    draw_dice,
    draw_frocs,
    draw_only,
    draw_worst,
    pictures_of,
)
from segfocal.evaluate.prediction_report import files_of_report, read_prediction_report
from segfocal.evaluate.summary import Contrast, StructureSummary, contrast, summarise
from segfocal.files import check_apart, check_new, claim, make_folder, write_json, write_table
from segfocal.io import passed_over
from segfocal.io.passed_over import PassedOver

TABLE, SUMMARY, FACTS, PAGE = "metrics.csv", "summary.csv", "metrics.json", "report.html"
SECOND, CONTRASTS, LESIONS = "metrics_against.csv", "comparison.csv", "lesions.csv"
RESULTS = (TABLE, SUMMARY, LESIONS, FACTS, PAGE, SECOND, CONTRASTS)


def check_results(evaluation: MaskEvaluation, cases: Sequence[CaseFiles] = ()) -> None:
    """Raise UserError, before any work, where `claim_results` would after it.

    Args:
        evaluation: what was asked for.
        cases: the files to judge, as soon as they are known.
    """
    check_apart(_places(evaluation), _files_read(cases), folders=_folders(evaluation))
    for path in _places(evaluation):
        check_new(path, overwrite=evaluation.overwrite)


def claim_results(evaluation: MaskEvaluation, judged: Sequence[JudgedCase]) -> None:
    """Claim every file that is written, pictures too: after a kill the same evaluation may replace them.

    Raises:
        UserError: one is there and may not be replaced, or is one of those that were judged.
    """
    places = dict.fromkeys([*_places(evaluation), *pictures_of(evaluation.output, judged, evaluation.pictures)])
    read = _files_read([case.files for case in judged])
    claim(places, read, overwrite=evaluation.overwrite, folders=_folders(evaluation))


def _files_read(cases: Sequence[CaseFiles]) -> list[Path]:
    read: list[Path] = []
    for case in cases:
        named = (case.reference, case.prediction, case.against, case.image, case.probabilities)
        given = [path for path in named if path]
        reports = [files_of_report(mask) for mask in (case.prediction, case.against) if mask]
        read += [*given, *(path for report in reports for path in report)]
    return read


def _folders(evaluation: MaskEvaluation) -> list[Path]:
    """Return the folder that is filled with pictures of made-up names, if any."""
    return [evaluation.output / OVERLAYS] if evaluation.many and evaluation.pictures else []


def _places(evaluation: MaskEvaluation) -> list[Path]:
    """Return every path that may be written: names of the worst cases are known later, so all pictures beside them."""
    folder = evaluation.output
    places = [folder / name for name in (*RESULTS, *((DICE_PLOT,) if evaluation.many else (OVERLAY,)))]
    places += [folder / FROC_PLOT] * evaluation.ranked
    for overlays in _folders(evaluation):
        places += sorted(overlays.glob("[!.]*.png")) if overlays.is_dir() else [overlays]
    return places


def write_results(
    judged: Sequence[JudgedCase],
    evaluation: MaskEvaluation,
    *,
    unmatched: Sequence[str],
    passed: Sequence[PassedOver] = (),
) -> None:
    """Sum up cases that were judged, and write every result.

    Args:
        judged: every case.
        evaluation: what was asked for.
        unmatched: names of predictions without a reference.
        passed: what lies in the folders and was not judged.
    """
    folder = evaluation.output
    summaries = summarise([metrics for case in judged for metrics in case.metrics])
    lesions = summarise_lesions(judged, evaluation.settings)
    contrasts = contrast(judged) if evaluation.compared else []
    make_folder(folder)
    # A wrong scan of a single case is an error before anything is written.
    shown = [] if evaluation.many else draw_only(folder, judged[0])
    facts = _facts(judged, evaluation, summaries, contrasts, unmatched)
    facts["lesions"] = {each.structure: each.facts() for each in lesions}
    facts["passed_over"] = passed_over.rows(passed, evaluation.prediction)
    _write_tables(folder, judged, summaries, contrasts)
    write_json(folder / FACTS, facts)
    page = EvaluationPage(
        title=_beside(evaluation.prediction, folder),
        against=_beside(evaluation.against, folder) if evaluation.against else None,
        judged=judged,
        summaries=summaries,
        lesions=lesions,
        contrasts=contrasts,
        pictured=draw_worst(folder, judged, evaluation.pictures) if evaluation.many else shown,
        dice_plot=draw_dice(folder, judged),
        froc_plot=draw_frocs(folder, lesions),
        unmatched=unmatched,
        settings=evaluation.settings,
        ranked=evaluation.ranked,
        files=[name for name in RESULTS if name != PAGE and (folder / name).is_file()],
    )
    write_evaluation_page(page, folder / PAGE)


def _facts(
    judged: Sequence[JudgedCase],
    evaluation: MaskEvaluation,
    summaries: Sequence[StructureSummary],
    contrasts: Sequence[Contrast],
    unmatched: Sequence[str],
) -> dict[str, Any]:
    """Return everything as JSON values."""
    return {
        "segfocal": segfocal.__version__,
        "prediction": _beside(evaluation.prediction, evaluation.output),
        "against": _beside(evaluation.against, evaluation.output) if evaluation.against else None,
        "figures": list(evaluation.settings.groups),
        "tolerance_mm": evaluation.settings.tolerance_mm,
        "structures": {summary.structure: summary.facts() for summary in summaries},
        "comparison": [each.row() for each in contrasts],
        "labels": evaluation.settings.labels,
        "ignore": evaluation.settings.ignore,
        "cases": [row for case in judged for row in case.rows()],
        "files": [_files(case.files, evaluation.output) for case in judged],
        "predictions_without_reference": list(unmatched),
    }


def _files(files: CaseFiles, folder: Path) -> dict[str, str | None]:
    """Return the files of a case as seen from the results, by which `evaluated.py` finds them again."""
    scan = files.image
    with suppress(UserError):  # a report that cannot be read has failed the case
        scan = scan or read_prediction_report(files.prediction).scan
    named = {"reference": files.reference, "prediction": files.prediction, "image": scan}
    return {"case": files.name} | {kind: _beside(path, folder) if path else None for kind, path in named.items()}


def _beside(path: Path, folder: Path) -> str:
    """Return a path as seen from the results: a page that is mailed names no home folder."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _write_tables(
    folder: Path,
    judged: Sequence[JudgedCase],
    summaries: Sequence[StructureSummary],
    contrasts: Sequence[Contrast],
) -> None:
    write_table(folder / TABLE, [row for case in judged for row in case.rows()])
    write_table(folder / SUMMARY, [summary.row() for summary in summaries] or [{"structure": "", "cases": 0}])
    second = [row for case in judged for row in case.rows_against()]
    lesions = [row for case in judged for row in case.lesion_rows()]
    for name, table in ((SECOND, second), (CONTRASTS, [each.row() for each in contrasts]), (LESIONS, lesions)):
        if table:
            write_table(folder / name, table)
        else:
            (folder / name).unlink(missing_ok=True)  # of an evaluation that this one replaces
