"""The page of an auto run: what was tried, what the model is worth, where it fails, what more time may bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from segfocal.auto.auto import AutoResult
from segfocal.auto.race import Heat
from segfocal.auto.recipes import Recipe
from segfocal.cross_validate.results import EVALUATION
from segfocal.evaluate.case_metrics import CaseMetrics
from segfocal.evaluate.summary import StructureSummary, summarise
from segfocal.report.html import Picture, write_page

PAGE = "report.html"
_PICTURES = 6
_FEW = 10  # cases below which an interval is a guess


@dataclass(frozen=True, kw_only=True)
class AutoFacts:
    """What the page says besides the result.

    Args:
        title: what was asked for.
        data: the folder of the data.
        minutes: that were given.
        fingerprint: of the data.
        left_out: cases left out, with the reason.
        command: that segments a new scan.
    """

    title: str
    data: str
    minutes: float
    fingerprint: Mapping[str, Any]
    left_out: Mapping[str, str]
    command: str


def write_auto_page(folder: Path, result: AutoResult, facts: AutoFacts) -> Path:
    """Write the page into `folder` and return its path."""
    judged = result.outcome.judged
    summaries = summarise([metrics for case in judged for metrics in case.metrics]) if judged else []
    worst = sorted((m for case in judged for m in case.metrics), key=lambda metrics: metrics.dice)[:_PICTURES]
    tried, not_tried = tried_and_not(result.recipes, result.heats, result.winner)
    values = {
        "facts": facts,
        "result": result,
        "rounds": _rounds(result.heats),
        "summaries": summaries,
        "failed": [case for case in judged if case.failure is not None],
        "worst": worst,
        "tried": tried,
        "not_tried": not_tried,
        "pictures": [Picture(path=path, caption=path.stem) for path in _pictures(folder, worst)],
        "expectation": expectation(summaries, len(judged)),
        "more": more_time(result.heats, result.winner.name),
    }
    write_page(folder / PAGE, "auto/page.html.j2", values, filters={"number": _number})
    return folder / PAGE


def tried_and_not(
    recipes: Sequence[Recipe], heats: Sequence[Heat], winner: Recipe
) -> tuple[list[Recipe], list[Recipe]]:
    """Return the recipes that were trained, the winner among them, and those for which the minutes were too few."""
    names = {heat.recipe for heat in heats} | {winner.name}
    return [one for one in recipes if one.name in names], [one for one in recipes if one.name not in names]


def _pictures(folder: Path, worst: Sequence[CaseMetrics]) -> list[Path]:
    """Return the pictures of cases, in the order of the table of the worst, then any others."""
    order = [f"{metrics.case}_{metrics.structure}" for metrics in worst]
    found = sorted((folder / EVALUATION / "overlays").glob("*.png"))
    return sorted(found, key=lambda path: order.index(path.stem) if path.stem in order else len(order))[:_PICTURES]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rounds(heats: Sequence[Heat]) -> list[list[Heat]]:
    """Return the runs of each round, the best first."""
    times = sorted({heat.minutes for heat in heats})
    return [sorted((h for h in heats if h.minutes == time), key=lambda h: -h.dice) for time in times]


def expectation(summaries: Sequence[StructureSummary], cases: int) -> str:
    """Return in one sentence what Dice a new scan like these may get."""
    if not cases:
        return "One case alone: nothing was held out, so nothing is known about another scan."
    spread = summaries[-1].metrics["dice"]
    said = f"On a new scan like these expect a Dice of about {spread.mean:.2f}"
    if spread.low is not None:
        said += f" (95 % interval of the mean {spread.low:.2f} to {spread.high:.2f}, {cases} cases)"
    if cases < _FEW:
        said += f"; {cases} case{'s are' if cases != 1 else ' is'} few, so single scans may be far from that"
    return said + ". Each case was segmented by a model that never saw it; the bundle averages all of these models."


def more_time(heats: Sequence[Heat], winner: str) -> str:
    """Return in one sentence what the race says about more time."""
    rounds = _rounds(heats)
    if len(rounds) < 2:
        return "There was no race, so nothing is known about more time."
    later = {heat.recipe: heat.dice for heat in rounds[1]}
    gains = [later[heat.recipe] - heat.dice for heat in rounds[0] if heat.recipe in later]
    own = [heat.dice for heat in rounds[1] if heat.recipe == winner]
    return (
        f"From {rounds[0][0].minutes:.1f} to {rounds[1][0].minutes:.1f} minutes a recipe Dice changed by "
        f"{fmean(gains):+.2f} on average (another fold was held out, so part of that is the fold); the winner was at "
        f"{own[0]:.2f} then. A change near 0 means that more time would bring little."
    )
