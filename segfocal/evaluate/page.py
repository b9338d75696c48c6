"""The page of an evaluation: structures, comparison, worst cases first, every case, and how the metrics are defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segfocal.evaluate.case_lesions import Lesion, LesionStatus
from segfocal.evaluate.case_metrics import STATUSES, Status
from segfocal.evaluate.judge import JudgedCase
from segfocal.evaluate.lesion_summary import LesionSummary, Pooled
from segfocal.evaluate.options import DEFAULT, EvaluationSettings
from segfocal.evaluate.pictures import PicturedCase
from segfocal.evaluate.summary import METRICS, Contrast, Metric, Spread, StructureSummary
from segfocal.report.html import write_page

_MOST_ROWS, _MOST_LESIONS = 300, 200
_MAIN = ("dice", "nsd", "hd95_mm", "assd_mm", "lesion_f1", "roc_auc", "pr_auc", "volume_difference_ml")
_PER_CASE = ("cc_dice", "pq", "sq", "rq")
_WORDS: Mapping[Status, str] = {
    "ok": "in both masks",
    "missed": "missed",
    "false_alarm": "false alarm",
    "both_empty": "both empty",
    "missing_prediction": "no prediction",
    "nowhere": "nowhere",
}
_LESION_WORDS: Mapping[LesionStatus, str] = {  # in the order of the page
    "missed": "missed",
    "false_positive": "false positive",
    "found": "touched, not matched",
    "touching": "touches, not matched",
    "matched": "matched",
}
ADVICE = (  # what the target is, what to look at first, what else, and what misleads; docs/evaluate.md has the same
    (
        "many lesions, or small ones",
        "recall of lesions and false positives a case, or FROC",
        "CC-Dice; PQ with SQ and RQ; recall by size",
        "Dice and IoU, which the largest lesion decides; HD",
    ),
    (
        "a few voxels each",
        "recall of lesions by any overlap, or matched at a low lesion_iou",
        "NSD with a tolerance of a voxel",
        "PQ at an IoU of 0.5, and Dice: one voxel changes both by much",
    ),
    (
        "one large structure",
        "Dice and NSD",
        "HD95; volume difference",
        "accuracy and specificity, which the background decides; lesion metrics",
    ),
    (
        "a tube: vessels, airways",
        "NSD; clDice, which is not measured here",
        "HD95; the number of components",
        "Dice, which thick parts decide: a broken branch costs little",
    ),
    (
        "absent in some cases",
        "how many were missed and how many false alarms",
        "false positives a case",
        "means of Dice: an empty case counts 0 or 1",
    ),
)


@dataclass(frozen=True, kw_only=True)
class EvaluationPage:
    """What the page shows.

    Args:
        title: the prediction's path.
        against: the second prediction's path; None without one.
        judged: every case, failed ones too.
        summaries: of each structure, the mean of several last.
        lesions: of each structure, all cases together; empty where none are counted.
        contrasts: of both predictions; empty without a second one.
        pictured: the structures that are shown with a picture.
        dice_plot: the picture of every case's Dice; None where there are too few.
        froc_plot: the picture of every structure's FROC; None without probability maps.
        unmatched: names of predictions without a reference.
        settings: what was measured.
        ranked: whether there are areas under curves.
        files: names of the other results in the folder of the page, to link to.
    """

    title: str
    against: str | None
    judged: Sequence[JudgedCase]
    summaries: Sequence[StructureSummary]
    lesions: Sequence[LesionSummary]
    contrasts: Sequence[Contrast]
    pictured: Sequence[PicturedCase]
    dice_plot: Path | None
    froc_plot: Path | None
    unmatched: Sequence[str]
    settings: EvaluationSettings
    ranked: bool
    files: Sequence[str]


def write_evaluation_page(page: EvaluationPage, path: Path) -> None:
    """Write the page; pictures are inside it, so the one file can be mailed. Links go to the files beside it."""
    rows = sorted((metrics for case in page.judged for metrics in case.metrics), key=lambda metrics: metrics.dice)
    known = [metric for metric in METRICS if rows and metric.of(rows[0]) is not None]
    lesions = _worst_lesions(page.judged)
    values = {
        "interval": _interval,
        "pooled": _pooled,
        "summary_of": {each.structure: each for each in reversed(page.summaries)},  # not the mean, which is the last
        "per_case": [metric for metric in known if metric.name in _PER_CASE],
        "lesions": lesions[:_MOST_LESIONS],
        "lesions_left_out": len(lesions[_MOST_LESIONS:]),
        "lesion_words": _LESION_WORDS,
        "advice": ADVICE,
        "with_intensity": any(each.mean_intensity is not None for each in lesions),
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


def _worst_lesions(judged: Sequence[JudgedCase]) -> list[Lesion]:
    """Return the lesions that are listed, misses first: the larger, or of those that overlap the worse, before others.

    Of a matched pair the reference's lesion is enough.
    """
    order = list(_LESION_WORDS)
    listed = [lesion for case in judged for each in case.lesions for lesion in each.listed]
    shown = [each for each in listed if each.status != "matched" or each.mask == "reference"]
    return sorted(shown, key=lambda each: (order.index(each.status), each.iou, -each.volume_ml))


def _pooled(pooled: Pooled | None) -> str:
    """Return the interval of a ratio; nothing where there is none."""
    return "" if pooled is None or pooled.low is None else f"{number(pooled.low)} to {number(pooled.high)}"


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
