"""The page of an evaluation: structures, comparison, worst cases first, every case, and how the metrics are defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segfocal.evaluate.case_metrics import STATUSES, Status
from segfocal.evaluate.judge import JudgedCase
from segfocal.evaluate.options import DEFAULT, EvaluationSettings
from segfocal.evaluate.pictures import PicturedCase
from segfocal.evaluate.summary import METRICS, Contrast, Metric, Spread, StructureSummary
from segfocal.report.html import write_page

_MOST_ROWS = 300
_MAIN = ("dice", "nsd", "hd95_mm", "assd_mm", "lesion_f1", "roc_auc", "pr_auc", "volume_difference_ml")
_WORDS: Mapping[Status, str] = {
    "ok": "in both masks",
    "missed": "missed",
    "false_alarm": "false alarm",
    "both_empty": "both empty",
    "missing_prediction": "no prediction",
    "nowhere": "nowhere",
}


@dataclass(frozen=True, kw_only=True)
class EvaluationPage:
    """What the page shows.

    Args:
        title: the prediction's path.
        against: the second prediction's path; None without one.
        judged: every case, failed ones too.
        summaries: of each structure, the mean of several last.
        contrasts: of both predictions; empty without a second one.
        pictured: the structures that are shown with a picture.
        dice_plot: the picture of every case's Dice; None where there are too few.
        unmatched: names of predictions without a reference.
        settings: what was measured.
        ranked: whether there are areas under curves.
        files: names of the other results in the folder of the page, to link to.
    """

    title: str
    against: str | None
    judged: Sequence[JudgedCase]
    summaries: Sequence[StructureSummary]
    contrasts: Sequence[Contrast]
    pictured: Sequence[PicturedCase]
    dice_plot: Path | None
    unmatched: Sequence[str]
    settings: EvaluationSettings
    ranked: bool
    files: Sequence[str]


def write_evaluation_page(page: EvaluationPage, path: Path) -> None:
    """Write the page; pictures are inside it, so the one file can be mailed. Links go to the files beside it."""
    rows = sorted((metrics for case in page.judged for metrics in case.metrics), key=lambda metrics: metrics.dice)
    known = [metric for metric in METRICS if rows and metric.of(rows[0]) is not None]
    values = {
        "interval": _interval,
        "page": page,
        "main": sorted((m for m in known if m.name in _MAIN), key=lambda metric: _MAIN.index(metric.name)),
        "contrasts": [each for each in page.contrasts if each.metric.name in _MAIN],
        "known": known,
        "rows": rows[:_MOST_ROWS],
        "left_out": len(rows[_MOST_ROWS:]),
        "failed": [case for case in page.judged if case.failure is not None],
        "empty": [case.files.name for case in page.judged if case.failure is None and not case.metrics],
        "statuses": _present(page.summaries),
        "words": _WORDS,
        "tolerance": _tolerance(page.settings.tolerance_mm),
    }
    write_page(path, "evaluate/page.html.j2", values, filters={"number": number})


def number(value: float | None, metric: Metric | None = None) -> str:
    """Return a number as a table shows it: shares to three places, millimetres and millilitres to two."""
    if value is None:
        return "–"
    places = 2 if metric and metric.unit else 3
    return f"{round(value, places) + 0.0:.{places}f}"  # + 0.0: no minus before nothing


def _interval(spread: Spread | Contrast, metric: Metric) -> str:
    if spread.low is None:
        return ""
    return f"{number(spread.low, metric)} to {number(spread.high, metric)}"


def _present(summaries: Sequence[StructureSummary]) -> list[Status]:
    """Return the statuses that occur, in order."""
    return [status for status in STATUSES if any(summary.statuses[status] for summary in summaries)]


def _tolerance(tolerance_mm: float | Mapping[str, float]) -> str:
    if isinstance(tolerance_mm, Mapping):
        return ", ".join(f"{name} {value:g} mm" for name, value in ({DEFAULT: 1.0} | dict(tolerance_mm)).items())
    return f"{tolerance_mm:g} mm"
