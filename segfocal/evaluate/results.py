"""What an evaluation leaves in its folder: tables, JSON, pictures and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import segfocal
from segfocal.evaluate.judge import JudgedCase
from segfocal.evaluate.options import MaskEvaluation
from segfocal.evaluate.page import EvaluationPage, write_evaluation_page
from segfocal.evaluate.pictures import draw_dice, draw_only, draw_worst
from segfocal.evaluate.summary import Contrast, StructureSummary, contrast, summarise
from segfocal.files import check_new, make_folder, write_json, write_table

TABLE, SUMMARY, FACTS, PAGE = "metrics.csv", "summary.csv", "metrics.json", "report.html"
SECOND, CONTRASTS = "metrics_against.csv", "comparison.csv"
RESULTS = (TABLE, SUMMARY, FACTS, PAGE, SECOND, CONTRASTS)


def check_results(folder: Path, *, overwrite: bool) -> None:
    """Raise UserError when results lie in a folder and may not be replaced."""
    for name in RESULTS:
        check_new(folder / name, overwrite=overwrite)


def write_results(judged: Sequence[JudgedCase], evaluation: MaskEvaluation, *, unmatched: Sequence[str]) -> None:
    """Sum up cases that were judged, and write every result; `unmatched` are predictions without a reference."""
    folder = evaluation.output
    summaries = summarise([metrics for case in judged for metrics in case.metrics])
    contrasts = contrast(judged) if evaluation.compared else []
    make_folder(folder)
    # A wrong scan of a single case is an error before anything is written.
    shown = [] if evaluation.many else draw_only(folder, judged[0])
    facts = _facts(judged, evaluation, summaries, contrasts, unmatched)
    _write_tables(folder, judged, summaries, contrasts)
    write_json(folder / FACTS, facts)
    page = EvaluationPage(
        title=str(evaluation.prediction),
        against=str(evaluation.against) if evaluation.against else None,
        judged=judged,
        summaries=summaries,
        contrasts=contrasts,
        pictured=draw_worst(folder, judged, evaluation.pictures) if evaluation.many else shown,
        dice_plot=draw_dice(folder, judged),
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
        "prediction": str(evaluation.prediction),
        "against": str(evaluation.against) if evaluation.against else None,
        "figures": list(evaluation.settings.groups),
        "tolerance_mm": evaluation.settings.tolerance_mm,
        "structures": {summary.structure: summary.facts() for summary in summaries},
        "comparison": [each.row() for each in contrasts],
        "cases": [row for case in judged for row in case.rows()],
        "predictions_without_reference": list(unmatched),
    }


def _write_tables(
    folder: Path,
    judged: Sequence[JudgedCase],
    summaries: Sequence[StructureSummary],
    contrasts: Sequence[Contrast],
) -> None:
    write_table(folder / TABLE, [row for case in judged for row in case.rows()])
    write_table(folder / SUMMARY, [summary.row() for summary in summaries] or [{"structure": "", "cases": 0}])
    second = [row for case in judged for row in case.rows_against()]
    for name, table in ((SECOND, second), (CONTRASTS, [each.row() for each in contrasts])):
        if table:
            write_table(folder / name, table)
        else:
            (folder / name).unlink(missing_ok=True)  # of an evaluation that this one replaces
