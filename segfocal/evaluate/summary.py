"""From the metrics of every case to a summary of each structure, and two predictions side by side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

import numpy as np

from segfocal.evaluate.case_metrics import STATUSES, CaseMetrics, Status
from segfocal.evaluate.judge import JudgedCase
from segfocal.metrics import bootstrap_mean, compare_pairs, holm

MEAN = "mean"  # in place of a structure: the mean over all of them
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One of the metrics that are summed up over cases.

    Args:
        name: of the field of `CaseMetrics`, and of its column.
        title: for a reader.
        larger_is_better: None where neither direction is better.
        unit: ml or mm; empty for numbers without one.
    """

    name: str
    title: str
    larger_is_better: bool | None = True
    unit: str = ""

    def of(self, metrics: CaseMetrics) -> float | None:
        """Return the value of a case; None where it was not measured."""
        return metrics.__dict__[self.name]

    @property
    def heading(self) -> str:
        """The title with the unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


METRICS = (
    Metric(name="dice", title="Dice"),
    Metric(name="iou", title="IoU"),
    Metric(name="precision", title="Precision"),
    Metric(name="recall", title="Recall"),
    Metric(name="specificity", title="Specificity"),
    Metric(name="accuracy", title="Accuracy"),
    Metric(name="volume_difference_ml", title="Volume difference", larger_is_better=None, unit="ml"),
    Metric(name="relative_volume_difference", title="Relative volume difference", larger_is_better=None),
    Metric(name="hd_mm", title="HD", larger_is_better=False, unit="mm"),
    Metric(name="hd95_mm", title="HD95", larger_is_better=False, unit="mm"),
    Metric(name="assd_mm", title="ASSD", larger_is_better=False, unit="mm"),
    Metric(name="nsd", title="NSD"),
    Metric(name="lesion_f1", title="Lesion F1"),
    Metric(name="lesion_precision", title="Lesion precision"),
    Metric(name="lesion_recall", title="Lesion recall"),
    Metric(name="cc_dice", title="CC-Dice"),
    Metric(name="pq", title="PQ"),
    Metric(name="sq", title="SQ"),
    Metric(name="rq", title="RQ"),
    Metric(name="matched_precision", title="Matched precision"),
    Metric(name="matched_recall", title="Matched recall"),
    Metric(name="roc_auc", title="ROC AUC"),
    Metric(name="pr_auc", title="PR AUC"),
)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over cases.

    Args:
        mean: over cases.
        median: over cases.
        low: lower end of the 95 % bootstrap interval of the mean; None for a single case.
        high: its upper end.
    """

    mean: float
    median: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class StructureSummary:
    """A structure over all cases that were judged.

    Args:
        structure: its name, or `MEAN` for the mean of all structures.
        cases: how many were judged.
        statuses: how many cases there are of each status.
        metrics: the spread of each metric that was measured, by its name; empty where the structure is nowhere.
    """

    structure: str
    cases: int
    statuses: Mapping[Status, int]
    metrics: Mapping[str, Spread]

    def row(self) -> dict[str, Any]:
        """Return the summary as columns of a table."""
        row: dict[str, Any] = {"structure": self.structure, "cases": self.cases, **dict(self.statuses.items())}
        for name, spread in self.metrics.items():
            row |= {f"{name}_{part}": value for part, value in spread.__dict__.items()}
        return row

    def facts(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        spreads = {name: dict(spread.__dict__) for name, spread in self.metrics.items()}
        return {"cases": self.cases, "status": dict(self.statuses), "figures": spreads}


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One metric of one structure for two predictions of the same cases.

    Args:
        structure: its name.
        metric: which.
        pairs: how many cases both predictions were judged on.
        first: mean of the first prediction.
        second: mean of the second prediction.
        difference: mean of first − second over cases.
        low: lower end of the 95 % bootstrap interval of the difference; None for a single case.
        high: its upper end.
        better: in how many cases the first is better.
        worse: in how many cases the second is better.
        equal: in how many cases they are equal.
        p: of Wilcoxon's signed-rank test; None where fewer than 6 pairs differ.
        p_holm: the same, corrected for the number of structures.
    """

    structure: str
    metric: Metric
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

    def row(self) -> dict[str, Any]:
        """Return the contrast as columns of a table."""
        rest = {name: value for name, value in self.__dict__.items() if name not in ("structure", "metric")}
        few = "" if self.p is not None else "fewer than 6 pairs differ: no test"
        return {"structure": self.structure, "figure": self.metric.name, **rest, "note": few}


def summarise(metrics: Sequence[CaseMetrics]) -> list[StructureSummary]:
    """Return a summary of each structure and, of two or more, one of their mean; what is nowhere is in no mean."""
    structures = list(dict.fromkeys(each.structure for each in metrics))
    found = [_summary(name, [each for each in metrics if each.structure == name]) for name in structures]
    counted = [each for each in metrics if each.status != "nowhere"]
    if len(structures) > 1 and counted:
        found.append(_summary(MEAN, counted))
    return found


def contrast(judged: Sequence[JudgedCase]) -> list[Contrast]:
    """Return how the first prediction differs from the second in each metric and structure, over the cases of both."""
    first = {(each.structure, each.case): each for case in judged for each in case.metrics if each.status != "nowhere"}
    second = {(each.structure, each.case): each for case in judged for each in case.against}
    common = [key for key in first if key in second]
    found: list[Contrast] = []
    for metric in METRICS:
        if metric.larger_is_better is None:
            continue
        of_metric = []
        for structure in dict.fromkeys(structure for structure, _ in common):
            values = [(metric.of(first[key]), metric.of(second[key])) for key in common if key[0] == structure]
            pairs = [(one, other) for one, other in values if one is not None and other is not None]
            if pairs:
                of_metric.append(_contrast(structure, metric, pairs))
        corrected = holm([each.p for each in of_metric])
        found += [replace(each, p_holm=p) for each, p in zip(of_metric, corrected, strict=True)]
    return found


def _summary(structure: str, metrics: Sequence[CaseMetrics]) -> StructureSummary:
    counted = Counter(each.status for each in metrics)
    measured = [each for each in metrics if each.status != "nowhere"]
    return StructureSummary(
        structure=structure,
        cases=len({each.case for each in metrics}),
        statuses={status: counted[status] for status in STATUSES},
        metrics={
            metric.name: _spread(metric, measured)
            for metric in METRICS
            if measured and metric.of(measured[0]) is not None
        },
    )


def _spread(metric: Metric, metrics: Sequence[CaseMetrics]) -> Spread:
    """Return a metric over cases; of several structures the mean of their means, a case drawn with all of them."""
    cases = {case: i for i, case in enumerate(dict.fromkeys(each.case for each in metrics))}
    columns = {structure: i for i, structure in enumerate(dict.fromkeys(each.structure for each in metrics))}
    values = np.full((len(cases), len(columns)), np.nan)
    for each in metrics:
        values[cases[each.case], columns[each.structure]] = metric.of(each)
    mean, low, high = bootstrap_mean(values, seed=SEED)
    middle = fmean(median(column[np.isfinite(column)].tolist()) for column in values.T)
    return Spread(mean=mean, median=middle, low=_or_none(low), high=_or_none(high))


def _contrast(structure: str, metric: Metric, pairs: Sequence[tuple[float, float]]) -> Contrast:
    first, second = zip(*pairs, strict=True)
    found = compare_pairs(first, second, larger_is_better=bool(metric.larger_is_better), seed=SEED)
    return Contrast(
        structure=structure,
        metric=metric,
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
