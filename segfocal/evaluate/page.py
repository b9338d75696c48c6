"""The page of an evaluation: structures, comparison, worst cases first, every case, and the rules of the figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segfocal.evaluate.case_metrics import STATUSES, Row, Settings
from segfocal.evaluate.pairing import CaseFiles
from segfocal.evaluate.summary import FIGURES, Contrast, Figure, Line, Spread
from segfocal.report.html import write_page

_MOST_ROWS = 300
_MAIN = ("dice", "nsd", "hd95_mm", "assd_mm", "lesion_f1", "roc_auc", "pr_auc", "volume_difference_ml")
_WORDS = {
    "ok": "in both masks",
    "missed": "missed",
    "false_alarm": "false alarm",
    "both_empty": "both empty",
    "missing_prediction": "no prediction",
    "failed": "failed",
}


@dataclass(frozen=True, kw_only=True)
class Worst:
    """A structure of a case with its picture."""

    row: Row
    files: CaseFiles
    picture: Path


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the page shows. files: names of results beside it, to link to."""

    title: str
    against: str | None
    rows: Sequence[Row]
    lines: Sequence[Line]
    contrasts: Sequence[Contrast]
    worst: Sequence[Worst]
    strips: Path | None
    unmatched: Sequence[str]
    settings: Settings
    files: Sequence[str]


def write_evaluation_page(page: Page, path: Path) -> None:
    """Write the page; pictures are inside it, so the one file can be mailed. Links go to the files beside it."""
    judged = sorted((row for row in page.rows if row["status"] != "failed"), key=lambda row: row["dice"])
    known = [figure for figure in FIGURES if judged and figure.name in judged[0]]
    values = {
        "interval": _interval,
        "page": page,
        "shown": sorted((f for f in known if f.name in _MAIN), key=lambda figure: _MAIN.index(figure.name)),
        "contrasts": [each for each in page.contrasts if each.figure.name in _MAIN],
        "known": known,
        "judged": judged[:_MOST_ROWS],
        "left_out": len(judged[_MOST_ROWS:]),
        "failed": [row for row in page.rows if row["status"] == "failed"],
        "cases": len({row["case"] for row in page.rows}),
        "statuses": _present(page.lines),
        "words": _WORDS,
        "tolerance": _tolerance(page.settings.tolerance_mm),
    }
    filters = {"number": number, "beside": lambda to: os.path.relpath(to, path.parent)}
    write_page(path, "evaluate/page.html.j2", values, filters=filters)


def number(value: float | None, figure: Figure | None = None) -> str:
    """Return a figure as a table shows it: shares to three places, millimetres and millilitres to two."""
    if value is None:
        return "–"
    places = 2 if figure and figure.unit else 3
    return f"{round(value, places) + 0.0:.{places}f}"  # + 0.0: no minus before nothing


def _interval(spread: Spread | Contrast, figure: Figure) -> str:
    if spread.low is None:
        return ""
    return f"{number(spread.low, figure)} to {number(spread.high, figure)}"


def _present(lines: Sequence[Line]) -> list[str]:
    """Return the statuses that occur, in order."""
    return [status for status in STATUSES if any(line.statuses.get(status) for line in lines)]


def _tolerance(tolerance_mm: float | Mapping[str, float]) -> str:
    if isinstance(tolerance_mm, Mapping):
        return ", ".join(f"{name} {value:g} mm" for name, value in ({"default": 1.0} | dict(tolerance_mm)).items())
    return f"{tolerance_mm:g} mm"
