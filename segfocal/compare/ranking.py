"""Runs side by side: one line a run, one line a setting over its seeds, and which differences mean something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from scipy.stats import wilcoxon

from segfocal.compare.runs import METRICS, NEUTRAL, OF_THE_SWEEP, RunResult
from segfocal.metrics import holm
from segfocal.metrics.paired import FEWEST_PAIRS
from segfocal.report.plots import DiceGrid


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Runs that differ in their seed only.

    Args:
        label: the options that tell it from the others, as text.
        overrides: the same by option.
        runs: its runs, finished or not.
        metrics: by name, mean and standard deviation over its finished runs; the latter None for a single one.
        pairs: how many (seed, case, structure) it shares with the best setting.
        against_best: p of Wilcoxon's signed-rank test on Dice of these pairs, corrected by Holm for the number of
            settings; None for the best one and where pairs are too few.
    """

    label: str
    overrides: Mapping[str, str]
    runs: Sequence[RunResult]
    metrics: Mapping[str, tuple[float, float | None]]
    pairs: int = 0
    against_best: float | None = None

    @property
    def by_seed(self) -> dict[str, float]:
        """Dice of each finished run by its seed, in order."""
        done = {run.seed: run.metrics["dice"] for run in self.runs if run.finished and "dice" in run.metrics}
        return dict(sorted(done.items(), key=lambda item: (len(item[0]), item[0])))

    @property
    def dice(self) -> float:
        """Mean Dice, or −1 without a finished run, for ranking."""
        return self.metrics["dice"][0] if "dice" in self.metrics else -1.0


def varied(runs: Sequence[RunResult]) -> list[str]:
    """Return the options in which runs differ and that change what they learn, the seed last.

    An option that is given in one run and holds by default in another is the same. Where the given options do not tell
    two runs apart but their configs differ, as after a change of a default, the options that do are named too.
    """
    keys = _different(runs, dict.fromkeys(key for run in runs for key in run.overrides))
    for group in _grouped(runs, keys).values():
        keys += [
            key for key in _different(group, dict.fromkeys(k for r in group for k in r.options)) if key not in keys
        ]
    return sorted(keys, key=lambda key: key == "seed")


def _different(runs: Sequence[RunResult], keys: Iterable[str]) -> list[str]:
    telling = [key for key in keys if key not in NEUTRAL and not key.startswith(OF_THE_SWEEP)]
    return [key for key in telling if len({run.value(key) for run in runs if run.options or key in run.overrides}) > 1]


def _grouped(runs: Sequence[RunResult], keys: Sequence[str]) -> dict[tuple[str | None, ...], list[RunResult]]:
    groups: dict[tuple[str | None, ...], list[RunResult]] = {}
    for run in runs:
        groups.setdefault(tuple(run.value(key) for key in keys), []).append(run)
    return groups


def ranked(runs: Sequence[RunResult]) -> list[Setting]:
    """Return the settings of runs, best mean Dice first, each tested against the best."""
    keys = [key for key in varied(runs) if key != "seed"]
    groups = _grouped(runs, keys)
    settings = [_setting(dict(zip(keys, values, strict=True)), group) for values, group in groups.items()]
    settings.sort(key=lambda setting: -setting.dice)
    return _tested(settings)


def dice_grid(settings: Sequence[Setting]) -> DiceGrid | None:
    """Return mean Dice over the two numeric options that vary; None where others vary."""
    keys = list(settings[0].overrides) if settings else []
    if len(keys) != 2 or not all(_number(setting.overrides[key]) is not None for setting in settings for key in keys):
        return None
    found = {tuple(float(setting.overrides[key]) for key in keys): setting.dice for setting in settings}
    rows, columns = (sorted({place[axis] for place in found}) for axis in (0, 1))
    if min(len(rows), len(columns)) < 2:
        return None
    values = [[found.get((row, column), -1.0) for column in columns] for row in rows]
    return DiceGrid(
        rows=keys[0],
        columns=keys[1],
        row_values=rows,
        column_values=columns,
        dice=[[v if v >= 0 else float("nan") for v in row] for row in values],
    )


def _setting(overrides: Mapping[str, str | None], runs: Sequence[RunResult]) -> Setting:
    shown = {key: "default" if value is None else value for key, value in overrides.items()}
    done = [run for run in runs if run.finished and run.metrics]
    metrics = {}
    for name in METRICS:
        values = [run.metrics[name] for run in done if name in run.metrics]
        if values:
            metrics[name] = fmean(values), stdev(values) if len(values) > 1 else None
    names = _short(list(shown))
    label = ", ".join(f"{names[key]}={value}" for key, value in shown.items()) or "all runs"
    return Setting(label=label, overrides=shown, runs=runs, metrics=metrics)


def _tested(settings: Sequence[Setting]) -> list[Setting]:
    """Return the settings with their p values against the first, corrected by Holm."""
    best = _paired(settings[0]) if settings else {}
    raw: dict[int, tuple[int, float | None]] = {}
    for index, setting in enumerate(settings[1:], start=1):
        scores = _paired(setting)
        common = sorted(best.keys() & scores.keys())
        differences = [best[key] - scores[key] for key in common]
        testable = sum(difference != 0 for difference in differences) >= FEWEST_PAIRS
        raw[index] = len(common), float(wilcoxon(differences).pvalue) if testable else None
    corrected = dict(zip(raw, holm([p for _, p in raw.values()]), strict=True))
    return [
        replace(setting, pairs=raw[index][0], against_best=corrected[index]) if index in raw else setting
        for index, setting in enumerate(settings)
    ]


def _paired(setting: Setting) -> dict[tuple[str, str, str], float]:
    return {(run.seed, *where): dice for run in setting.runs if run.finished for where, dice in run.scores.items()}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Return the last part of each option's name (alpha, gamma), or the whole where two would be the same."""
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: end if last.count(end) == 1 else key for key, end in zip(keys, last, strict=True)}
