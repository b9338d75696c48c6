"""From the rows of all cases to a line for each structure, and two predictions side by side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from segfocal.evaluate.case_metrics import STATUSES, Row
from segfocal.metrics import bootstrap_mean, compare_pairs, holm

MEAN = "mean"  # in place of a structure: the mean over all of them
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A column of figures: its title and unit, and which way is better (None: neither)."""

    name: str
    title: str
    larger_is_better: bool | None = True
    unit: str = ""


FIGURES = (
    Figure(name="dice", title="Dice"),
    Figure(name="iou", title="IoU"),
    Figure(name="precision", title="Precision"),
    Figure(name="recall", title="Recall"),
    Figure(name="specificity", title="Specificity"),
    Figure(name="accuracy", title="Accuracy"),
    Figure(name="volume_difference_ml", title="Volume difference", larger_is_better=None, unit="ml"),
    Figure(name="relative_volume_difference", title="Relative volume difference", larger_is_better=None),
    Figure(name="hd_mm", title="HD", larger_is_better=False, unit="mm"),
    Figure(name="hd95_mm", title="HD95", larger_is_better=False, unit="mm"),
    Figure(name="assd_mm", title="ASSD", larger_is_better=False, unit="mm"),
    Figure(name="nsd", title="NSD"),
    Figure(name="lesion_f1", title="Lesion F1"),
    Figure(name="lesion_precision", title="Lesion precision"),
    Figure(name="lesion_recall", title="Lesion recall"),
    Figure(name="roc_auc", title="ROC AUC"),
    Figure(name="pr_auc", title="PR AUC"),
)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over cases: mean, median and the 95 % bootstrap interval of the mean, None for a single case."""

    mean: float
    median: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a structure, or `MEAN` of all, came to: the number of cases of each status and its figures by name."""

    structure: str
    cases: int
    statuses: Mapping[str, int]
    figures: Mapping[str, Spread]

    def row(self) -> Row:
        """Return the line as columns of a table."""
        row: Row = {"structure": self.structure, "cases": self.cases, **self.statuses}
        for name, spread in self.figures.items():
            row |= {
                f"{name}_mean": spread.mean,
                f"{name}_median": spread.median,
                f"{name}_low": spread.low,
                f"{name}_high": spread.high,
            }
        return row


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One figure of one structure for two predictions; p_holm: corrected for the number of structures."""

    structure: str
    figure: Figure
    pairs: int
    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    better: int
    worse: int
    equal: int
    p: float | None
    p_holm: float | None = None

    def row(self) -> Row:
        """Return the contrast as columns of a table."""
        few = "" if self.p is not None else "fewer than 6 pairs differ: no test"
        return {**self.__dict__, "figure": self.figure.name, "note": few}


def summarise(rows: Sequence[Row]) -> list[Line]:
    """Return a line for each structure, and of two or more one for their mean; rows that failed are in none."""
    judged = [row for row in rows if row["status"] != "failed"]
    structures = list(dict.fromkeys(row["structure"] for row in judged))
    lines = [_line(name, [row for row in judged if row["structure"] == name]) for name in structures]
    if len(structures) > 1:
        lines.append(_line(MEAN, judged))
    return lines


def contrast(rows: Sequence[Row], others: Sequence[Row]) -> list[Contrast]:
    """Return how the first prediction differs from the second in each figure and structure, over the cases of both."""
    first, second = (
        {(r["structure"], r["case"]): r for r in table if r["status"] != "failed"} for table in (rows, others)
    )
    common = [key for key in first if key in second]
    found: list[Contrast] = []
    for figure in FIGURES:
        if figure.larger_is_better is None:
            continue
        of_figure = []
        for structure in dict.fromkeys(structure for structure, _ in common):
            keys = [key for key in common if key[0] == structure and figure.name in second[key]]
            if keys:
                pairs = [(first[key][figure.name], second[key][figure.name]) for key in keys]
                of_figure.append(_contrast(structure, figure, pairs))
        corrected = holm([each.p for each in of_figure])
        found += [Contrast(**{**each.__dict__, "p_holm": p}) for each, p in zip(of_figure, corrected, strict=True)]
    return found


def json_of(lines: Sequence[Line]) -> dict[str, Any]:
    """Return lines as JSON values by structure."""
    return {
        line.structure: {
            "cases": line.cases,
            "status": dict(line.statuses),
            "figures": {name: dict(spread.__dict__) for name, spread in line.figures.items()},
        }
        for line in lines
    }


def _line(structure: str, rows: Sequence[Row]) -> Line:
    counted = Counter(row["status"] for row in rows)
    return Line(
        structure=structure,
        cases=len({row["case"] for row in rows}),
        statuses={status: counted[status] for status in STATUSES if status != "failed"},
        figures={figure.name: _spread(figure.name, rows) for figure in FIGURES if figure.name in rows[0]},
    )


def _spread(name: str, rows: Sequence[Row]) -> Spread:
    """Return a figure over cases; of several structures the mean of their means, a case drawn with all of them."""
    cases = {case: i for i, case in enumerate(dict.fromkeys(row["case"] for row in rows))}
    columns = {structure: i for i, structure in enumerate(dict.fromkeys(row["structure"] for row in rows))}
    values = np.full((len(cases), len(columns)), np.nan)
    for row in rows:
        values[cases[row["case"]], columns[row["structure"]]] = row[name]
    mean, low, high = bootstrap_mean(values, seed=SEED)
    middle = fmean(median(column[np.isfinite(column)].tolist()) for column in values.T)
    return Spread(mean=mean, median=middle, low=_or_none(low), high=_or_none(high))


def _contrast(structure: str, figure: Figure, pairs: Sequence[tuple[float, float]]) -> Contrast:
    first, second = zip(*pairs, strict=True)
    found = compare_pairs(first, second, larger_is_better=bool(figure.larger_is_better), seed=SEED)
    return Contrast(
        structure=structure,
        figure=figure,
        pairs=found.pairs,
        first=fmean(first),
        second=fmean(second),
        difference=found.mean.mean,
        low=_or_none(found.mean.low),
        high=_or_none(found.mean.high),
        better=found.better,
        worse=found.worse,
        equal=found.equal,
        p=found.p,
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
