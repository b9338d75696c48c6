"""The lesions of each structure over all cases together: recall, precision and F1, recall by size, and FROC.

A case with many lesions counts more here than one with few, unlike in the means of `summary.py`, where each case counts
the same and one without a lesion has a recall of 1. Intervals draw whole cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from segfocal.evaluate.case_lesions import StructureLesions
from segfocal.evaluate.case_metrics import CaseMetrics
from segfocal.evaluate.judge import JudgedCase
from segfocal.evaluate.options import EvaluationSettings
from segfocal.evaluate.summary import SEED
from segfocal.metrics import Detections, Froc, bootstrap_ratio, class_names, froc_curve
from segfocal.metrics.froc import RATES


class Pooled(NamedTuple):
    """A ratio of sums over cases with its 95 % bootstrap interval, which is None for a single case."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class LesionRule:
    """How well lesions were found by one rule, over all cases; a ratio of nothing is None.

    Args:
        counts: lesions of all cases together.
        recall: share of the reference's lesions found.
        precision: share of the predicted ones that are right.
        f1: of both.
        false_positives: a case.
    """

    counts: Detections
    recall: Pooled | None
    precision: Pooled | None
    f1: Pooled | None
    false_positives: Pooled | None


@dataclass(frozen=True, kw_only=True)
class SizeRecall:
    """How many of the reference's lesions of one class of size were found.

    Args:
        name: of the class, as "5 to 10 mm".
        lesions: of the reference.
        found: share found by an overlap; None without a lesion.
        matched: share matched one to one; None without a lesion.
    """

    name: str
    lesions: int
    found: Pooled | None
    matched: Pooled | None


@dataclass(frozen=True, kw_only=True)
class LesionSummary:
    """The lesions of a structure over all cases.

    Args:
        structure: its name.
        cases: that were judged.
        overlapping: by the rule that an overlap is enough.
        matched: by one-to-one matching.
        sizes: recall by size, the smallest first.
        froc: of the probability maps; None without maps or without a lesion.
    """

    structure: str
    cases: int
    overlapping: LesionRule
    matched: LesionRule
    sizes: Sequence[SizeRecall]
    froc: Froc | None

    def facts(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        sizes = [
            {"size": one.name, "lesions": one.lesions, "found": _fact(one.found), "matched": _fact(one.matched)}
            for one in self.sizes
        ]
        facts: dict[str, Any] = {"cases": self.cases, "overlapping": _rule_facts(self.overlapping)}
        facts |= {"matched": _rule_facts(self.matched), "recall_by_size": sizes}
        if self.froc is not None:
            steps = self.froc.steps()
            curve = zip(steps.thresholds.tolist(), steps.false_positives.tolist(), steps.recall.tolist(), strict=True)
            facts["froc"] = {
                "score": self.froc.score,
                "recall_at": {f"{rate:g}": self.froc.recall_at(rate) for rate in RATES},
                "curve": [dict(zip(("threshold", "false_positives", "recall"), point, strict=True)) for point in curve],
            }
        return facts


def summarise_lesions(judged: Sequence[JudgedCase], settings: EvaluationSettings) -> list[LesionSummary]:
    """Return the lesions of each structure over all cases; nothing where none are counted."""
    by_structure: dict[str, list[tuple[JudgedCase, CaseMetrics, StructureLesions]]] = {}
    for case in judged:
        for metrics, lesions in zip(case.metrics, case.lesions, strict=False):
            if metrics.status != "nowhere":
                by_structure.setdefault(metrics.structure, []).append((case, metrics, lesions))
    return [_summary(structure, found, settings) for structure, found in by_structure.items()]


def _summary(
    structure: str, found: Sequence[tuple[JudgedCase, CaseMetrics, StructureLesions]], settings: EvaluationSettings
) -> LesionSummary:
    candidates = [case.candidates[structure] for case, _, _ in found if structure in case.candidates]
    lesions = any(len(each.lesions) for each in candidates)
    every = [metrics for _, metrics, _ in found]
    return LesionSummary(
        structure=structure,
        cases=len(found),
        overlapping=_rule([(each.lesion_tp or 0, each.lesion_fp or 0, each.lesion_fn or 0) for each in every]),
        matched=_rule([(each.matched_tp or 0, each.matched_fp or 0, each.matched_fn or 0) for each in every]),
        sizes=_by_size([each for _, _, each in found], settings),
        froc=froc_curve(candidates) if lesions else None,
    )


def _rule(counts: Sequence[tuple[int, int, int]]) -> LesionRule:
    """Return the ratios of the TP, FP and FN of each case."""
    return LesionRule(
        counts=Detections(
            tp=sum(tp for tp, _, _ in counts), fp=sum(fp for _, fp, _ in counts), fn=sum(fn for _, _, fn in counts)
        ),
        recall=_pooled([(tp, tp + fn) for tp, _, fn in counts]),
        precision=_pooled([(tp, tp + fp) for tp, fp, _ in counts]),
        f1=_pooled([(2 * tp, 2 * tp + fp + fn) for tp, fp, fn in counts]),
        false_positives=_pooled([(fp, 1) for _, fp, _ in counts]),
    )


def _by_size(lesions: Sequence[StructureLesions], settings: EvaluationSettings) -> list[SizeRecall]:
    found = []
    for i, name in enumerate(class_names(settings.lesion_edges, settings.lesion_size)):
        counts = [each.sizes[i] for each in lesions]
        found.append(
            SizeRecall(
                name=name,
                lesions=sum(each.lesions for each in counts),
                found=_pooled([(each.found, each.lesions) for each in counts]),
                matched=_pooled([(each.matched, each.lesions) for each in counts]),
            )
        )
    return found


def _pooled(pairs: Sequence[tuple[int, int]]) -> Pooled | None:
    """Return Σ parts / Σ wholes over cases; None where there is nothing."""
    if not sum(whole for _, whole in pairs):
        return None
    parts, wholes = zip(*pairs, strict=True)
    ratio, low, high = bootstrap_ratio(parts, wholes, seed=SEED)
    return Pooled(ratio, None if math.isnan(low) else low, None if math.isnan(high) else high)


def _rule_facts(rule: LesionRule) -> dict[str, Any]:
    ratios = {name: _fact(getattr(rule, name)) for name in ("recall", "precision", "f1", "false_positives")}
    return {"tp": rule.counts.tp, "fp": rule.counts.fp, "fn": rule.counts.fn, **ratios}


def _fact(pooled: Pooled | None) -> dict[str, float | None] | None:
    return None if pooled is None else pooled._asdict()
