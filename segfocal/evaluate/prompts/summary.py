"""From the score of every answer to a table: mean over slices, then cases, then structures, each with an interval."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from segfocal.evaluate.prompts.protocol import BOX, NONE
from segfocal.files import claim, write_json, write_table
from segfocal.metrics import bootstrap_mean
from segfocal.report.plots import draw_clicks

SCORES, TABLE, SUMMARY, PICTURE = "scores.csv", "summary.csv", "summary.json", "clicks.png"
ALL, MEAN = "all", "mean"  # in place of a case, of a structure
MEAN_TRAINED, MEAN_OTHERS = "mean of trained", "mean of others"

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class PromptScore:
    """How well one prompt about one structure of one slice was answered; the columns of scores.csv.

    Args:
        case: its name.
        slice: its number in the model's frame.
        structure: its name.
        prompt: "none", "box", or the number of clicks.
        pixels: of the target, inside the model's window.
        dice: overlap in [0,1].
        iou: intersection over union in [0,1].
    """

    case: str
    slice: int
    structure: str
    prompt: str
    pixels: int
    dice: float
    iou: float


@dataclass(frozen=True, kw_only=True)
class PromptSummary:
    """How well one prompt about one structure was answered on average; the columns of summary.csv.

    Args:
        case: its name, or `ALL`.
        structure: its name, or `MEAN` for the mean of all structures, or a mean of those trained or of the others.
        prompt: "none", "box", or the number of clicks.
        dice: mean in [0,1].
        dice_low: lower end of the 95 % bootstrap interval of the mean; None for a single unit.
        dice_high: its upper end.
        iou: mean in [0,1].
        iou_low: as `dice_low`.
        iou_high: as `dice_high`.
        cases: how many were asked about.
        slices: how many were asked about.
        over: the units that the intervals draw: cases where there are two or more, else slices.
    """

    case: str
    structure: str
    prompt: str
    dice: float
    dice_low: float | None
    dice_high: float | None
    iou: float
    iou_low: float | None
    iou_high: float | None
    cases: int
    slices: int
    over: Literal["cases", "slices"]


def summarise(scores: Sequence[PromptScore], *, seed: int, trained: Collection[str] = ()) -> list[PromptSummary]:
    """Return a summary of each prompt of each structure, and of their mean, over all cases and then in each case.

    Means are over slices, then over cases, then over structures.

    Args:
        scores: of every answer.
        seed: of the bootstrap.
        trained: names of structures that the model was trained on. Where others were asked for too, both have a mean.
    """
    summaries = []
    for case, of_case in {ALL: list(scores), **_grouped(scores, lambda score: score.case)}.items():
        by_structure = _grouped(of_case, lambda score: score.structure)
        groups = _grouped(of_case, lambda score: MEAN_TRAINED if score.structure in trained else MEAN_OTHERS)
        if len(by_structure) > 1:
            by_structure |= {name: groups[name] for name in (MEAN_TRAINED, MEAN_OTHERS) if len(groups) > 1}
            by_structure[MEAN] = list(of_case)
        for structure, of_structure in by_structure.items():
            for prompt, asked in _grouped(of_structure, lambda score: score.prompt).items():
                summaries.append(_summary(case, structure, prompt, asked, seed=seed))
    return summaries


def check_results(folder: Path, read: Iterable[Path], *, overwrite: bool) -> None:
    """Raise UserError when results lie in a folder and may not be replaced, or would replace a file that is read."""
    claim([folder / name for name in (SCORES, TABLE, SUMMARY, PICTURE)], read, overwrite=overwrite)


def write_results(
    folder: Path, scores: Sequence[PromptScore], summaries: Sequence[PromptSummary], facts: Mapping[str, Any]
) -> None:
    """Write both tables, the summaries with the facts as JSON, and the curves of clicks.

    Args:
        folder: that exists.
        scores: of every answer.
        summaries: of `summarise`.
        facts: how the scores were made, as JSON values.
    """
    rows = [asdict(summary) for summary in summaries]
    write_table(folder / SCORES, [asdict(score) for score in scores])
    write_table(folder / TABLE, rows)
    dice: dict[str, dict[str, float]] = {}
    for summary in summaries:
        if summary.case == ALL:
            dice.setdefault(summary.structure, {})[summary.prompt] = summary.dice
    clicks = {name: {int(p): value for p, value in of.items() if p not in (NONE, BOX)} for name, of in dice.items()}
    draw_clicks(
        folder / PICTURE,
        {name: (list(curve), list(curve.values())) for name, curve in clicks.items()},
        boxes={name: of[BOX] for name, of in dice.items() if BOX in of},
        unprompted={name: of[NONE] for name, of in dice.items() if NONE in of},
    )
    write_json(folder / SUMMARY, {**facts, "scores": rows})


def _grouped(scores: Iterable[PromptScore], key: Callable[[PromptScore], Key]) -> dict[Key, list[PromptScore]]:
    groups: dict[Key, list[PromptScore]] = defaultdict(list)
    for score in scores:
        groups[key(score)].append(score)
    return dict(groups)


def _summary(case: str, structure: str, prompt: str, scores: Sequence[PromptScore], *, seed: int) -> PromptSummary:
    """Return the summary of scores of one prompt."""
    cases = {score.case for score in scores}
    over: Literal["cases", "slices"] = "cases" if len(cases) > 1 else "slices"
    dice, dice_low, dice_high = bootstrap_mean(_unit_means(scores, lambda score: score.dice, over), seed=seed)
    iou, iou_low, iou_high = bootstrap_mean(_unit_means(scores, lambda score: score.iou, over), seed=seed)
    return PromptSummary(
        case=case,
        structure=structure,
        prompt=prompt,
        dice=dice,
        dice_low=_or_none(dice_low),
        dice_high=_or_none(dice_high),
        iou=iou,
        iou_low=_or_none(iou_low),
        iou_high=_or_none(iou_high),
        cases=len(cases),
        slices=len({(score.case, score.slice) for score in scores}),
        over=over,
    )


def _unit_means(
    scores: Sequence[PromptScore], value: Callable[[PromptScore], float], over: Literal["cases", "slices"]
) -> NDArray[np.float64]:
    """Return the mean of each unit, a case or a slice, for each structure [units,k]; NaN where it lacks one."""
    cells: dict[tuple[Hashable, str], list[float]] = defaultdict(list)
    for score in scores:
        cells[score.case if over == "cases" else score.slice, score.structure].append(value(score))
    rows = {unit: row for row, unit in enumerate(dict.fromkeys(unit for unit, _ in cells))}
    columns = {name: column for column, name in enumerate(dict.fromkeys(structure for _, structure in cells))}
    means = np.full((len(rows), len(columns)), np.nan)
    for (unit, structure), values in cells.items():
        means[rows[unit], columns[structure]] = fmean(values)
    return means


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
