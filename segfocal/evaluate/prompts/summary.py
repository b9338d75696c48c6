"""From the score of every answer to a table: mean over slices, then cases, then structures, each with an interval."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.evaluate.prompts.protocol import BOX, NONE
from segfocal.files import check_new, write_json, written_beside
from segfocal.metrics import bootstrap_mean
from segfocal.report.plots import click_curves

SCORES, TABLE, SUMMARY, PICTURE = "scores.csv", "summary.csv", "summary.json", "clicks.png"
ALL, MEAN = "all", "mean"  # in place of a case, of a structure


@dataclass(frozen=True, kw_only=True)
class PromptScore:
    """How well one prompt about one structure of one slice was answered.

    slice: its number in the model's frame. pixels: those of the target inside the model's window.
    """

    case: str
    slice: int
    structure: str
    prompt: str
    pixels: int
    dice: float
    iou: float


def summarise(scores: Sequence[PromptScore], *, seed: int) -> list[dict[str, Any]]:
    """Return a row for each prompt of each structure, and of their mean, over all cases and then in each case.

    Figures are means over slices, then over cases, then over structures. Their 95 % bootstrap interval draws the units
    named by `over`: cases where there are two or more, else slices; it is None for a single unit.
    """
    rows = []
    for case, of_case in {ALL: list(scores), **_grouped(scores, "case")}.items():
        by_structure = _grouped(of_case, "structure")
        if len(by_structure) > 1:
            by_structure[MEAN] = list(of_case)
        for structure, of_structure in by_structure.items():
            for prompt, asked in _grouped(of_structure, "prompt").items():
                rows.append({"case": case, "structure": structure, "prompt": prompt, **_figures(asked, seed)})
    return rows


def check_results(folder: Path, *, overwrite: bool) -> None:
    """Raise UserError when results lie in a folder and may not be replaced."""
    for name in (SCORES, TABLE, SUMMARY, PICTURE):
        check_new(folder / name, overwrite=overwrite)


def write_results(
    folder: Path, scores: Sequence[PromptScore], rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]
) -> None:
    """Write the scores, the rows of `summarise` as a table, these with the facts as JSON, and the curves of clicks."""
    _write_table(folder / SCORES, [asdict(score) for score in scores])
    _write_table(folder / TABLE, rows)
    whole = [row for row in rows if row["case"] == ALL]
    by_name: dict[str, dict[str, float]] = {}
    for row in whole:
        by_name.setdefault(row["structure"], {})[row["prompt"]] = row["dice"]
    clicks = {name: {int(p): dice for p, dice in of.items() if p not in (NONE, BOX)} for name, of in by_name.items()}
    click_curves(
        folder / PICTURE,
        {name: (list(curve), list(curve.values())) for name, curve in clicks.items()},
        boxes={name: of[BOX] for name, of in by_name.items() if BOX in of},
        unasked={name: of[NONE] for name, of in by_name.items() if NONE in of},
    )
    write_json(folder / SUMMARY, {**facts, "scores": list(rows)})


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with written_beside(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _grouped(scores: Iterable[PromptScore], name: str) -> dict[str, list[PromptScore]]:
    groups: dict[str, list[PromptScore]] = defaultdict(list)
    for score in scores:
        groups[getattr(score, name)].append(score)
    return dict(groups)


def _figures(scores: Sequence[PromptScore], seed: int) -> dict[str, Any]:
    """Return means and intervals of scores of one prompt, and what they are over."""
    cases = {score.case for score in scores}
    over = "case" if len(cases) > 1 else "slice"
    row: dict[str, Any] = {}
    for name in ("dice", "iou"):
        mean, low, high = bootstrap_mean(_units(scores, name, over), seed=seed)
        row |= {name: mean, f"{name}_low": _or_none(low), f"{name}_high": _or_none(high)}
    slices = len({(score.case, score.slice) for score in scores})
    return row | {"cases": len(cases), "slices": slices, "over": f"{over}s"}


def _units(scores: Sequence[PromptScore], name: str, over: str) -> NDArray[np.float64]:
    """Return the mean of each unit, a case or a slice, for each structure [units,k]; NaN where it lacks one."""
    cells: dict[tuple[Any, str], list[float]] = defaultdict(list)
    for score in scores:
        cells[getattr(score, over), score.structure].append(getattr(score, name))
    rows = {unit: row for row, unit in enumerate(dict.fromkeys(unit for unit, _ in cells))}
    columns = {name: column for column, name in enumerate(dict.fromkeys(structure for _, structure in cells))}
    means = np.full((len(rows), len(columns)), np.nan)
    for (unit, structure), values in cells.items():
        means[rows[unit], columns[structure]] = fmean(values)
    return means


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
