"""Post-processing chosen by validation: each rule is tried on whole held-out scans, and stays where it raised Dice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segfocal.data.case import Case
from segfocal.data.ignore_label import without_ignored
from segfocal.data.store.prepare import read_pair
from segfocal.engine.organ_rules import SHARE
from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.postprocess import Parts, PostprocessRules, holes, pieces
from segfocal.inference.prompted.slice_boxes import boxes_from_labels
from segfocal.inference.segment import segment
from segfocal.metrics import Counts
from segfocal.structure import Structure

LEAST_GAIN = 0.001  # of mean Dice: less is noise

# Mildest first: of those that gain the same, the first is taken.
REMOVALS = (
    *(PostprocessRules(minimum_mm3=10.0**power) for power in (1, 2, 3, 4)),
    PostprocessRules(minimum_share=SHARE),
    PostprocessRules(largest=True),
)
_SHARED = 1 + [rule.minimum_share for rule in REMOVALS].index(SHARE)  # its place in a row of Dice
FILLINGS = tuple(PostprocessRules(holes_mm3=10.0**power) for power in (2, 3, 4))


def choose_rules(
    bundle: Bundle, cases: Iterable[Case], *, device: torch.device
) -> tuple[dict[str, PostprocessRules], list[dict[str, Any]]]:
    """Return the rules by structure that raised its mean Dice by LEAST_GAIN or more, and what was tried with its Dice.

    Every rule is tried alone, on the masks that the bundle without rules gives for whole scans. The best way of taking
    components away and the best way of filling holes stay. Of several cases as much must be gained where each gets what
    the others would choose: what one case alone gains by says little about the next. Where nothing is taken away
    because of that, a rule that the training labels asked for stays, unless it lowered the mean.
    """
    return choose_rules_of([(bundle, cases)], device=device)


def choose_rules_of(
    members: Iterable[tuple[Bundle, Iterable[Case]]], *, device: torch.device
) -> tuple[dict[str, PostprocessRules], list[dict[str, Any]]]:
    """Return the same for several bundles, such as those of folds, each with cases that it did not see."""
    dice: dict[str, list[list[float]]] = {}
    asked: list[Mapping[str, PostprocessRules]] = []
    for bundle, cases in members:
        asked.append(bundle.postprocess)
        for case in cases:
            for name, row in _dice_of_case(replace(bundle, postprocess={}), case, device=device).items():
                dice.setdefault(name, []).append(row)
    rules: dict[str, PostprocessRules] = {}
    report = []
    for name, rows in dice.items():
        means = [fmean(column) for column in zip(*rows, strict=True)]
        chosen = best_rules(np.array(rows))
        if not chosen.removes and means[_SHARED] >= means[0] and all(name in own for own in asked):
            chosen = replace(chosen, minimum_share=SHARE)
        if chosen != PostprocessRules():
            rules[name] = chosen
        tried = [asdict(r) | {"dice": m} for r, m in zip((*REMOVALS, *FILLINGS), means[1:], strict=True)]
        report.append({"structure": name, "dice": means[0], "chosen": asdict(chosen), "tried": tried})
    return rules, report


def _dice_of_case(plain: Bundle, case: Case, *, device: torch.device) -> dict[str, list[float]]:
    """Return by structure the Dice of a case's mask as it is and after each rule."""
    scan, labels = read_pair(case)
    boxes = boxes_from_labels(labels, plain.structures, plain.grid) if plain.needs_prompts else None
    mask, labels = without_ignored(segment(scan, plain, prompts=boxes, device=device), labels, case)
    dice = {}
    for structure in plain.structures:
        pair, value = (mask, labels), structure.value
        if structure.overlaps:
            pair, value = (_alone(mask, structure), _alone(labels, structure)), 1
        dice[structure.name] = dice_of_each(*pair, value)
    return dice


def _alone(labels: Volume, structure: Structure) -> Volume:
    return Volume(array=structure.inside(labels.array).astype(np.uint8), grid=labels.grid)


def dice_of_each(mask: Volume, labels: Volume, value: int) -> list[float]:
    """Return the Dice of a mask as it is, after each way of taking components away, and after each of filling holes.

    Components and holes are found once: what a rule does to the counts is a sum over those it takes.
    """
    voxel_mm3 = mask.grid.voxel_mm3
    truth = labels.array == value
    total = int(np.count_nonzero(truth))
    found = pieces(mask.array, value)
    if found is None:
        return [_dice(0, 0, total)] * (1 + len(REMOVALS) + len(FILLINGS))
    hits = _hits(found, truth)
    voxels, inside = int(found.voxels.sum()), int(hits.sum())
    removed = []
    for rule in REMOVALS:
        kept = rule.keeps(found.voxels * voxel_mm3)
        removed.append(_dice(int(found.voxels[kept].sum()), int(hits[kept].sum()), total))
    empty = holes(mask.array, value)
    assert empty is not None
    hits = _hits(empty, truth)
    filled = []
    for rule in FILLINGS:
        small = rule.fills(empty.voxels * voxel_mm3)
        filled.append(_dice(voxels + int(empty.voxels[small].sum()), inside + int(hits[small].sum()), total))
    return [_dice(voxels, inside, total), *removed, *filled]


def best_rules(dice: NDArray[np.float64]) -> PostprocessRules:
    """Return the best of both kinds of rules by Dice [cases, 1 + rules], of those that gain enough."""
    best = PostprocessRules()
    for first, kind in ((1, REMOVALS), (1 + len(REMOVALS), FILLINGS)):
        own = dice[:, [0, *range(first, first + len(kind))]]
        chosen = _best_column(own)
        if chosen and (len(own) == 1 or _nested(own) - own[:, 0].mean() >= LEAST_GAIN):
            rule = kind[chosen - 1]
            best = PostprocessRules(
                largest=best.largest or rule.largest,
                minimum_mm3=max(best.minimum_mm3, rule.minimum_mm3),
                holes_mm3=max(best.holes_mm3, rule.holes_mm3),
                minimum_share=max(best.minimum_share, rule.minimum_share),
            )
    return best


def _best_column(dice: NDArray[np.float64]) -> int:
    """Return the column of the best mean, 0 where none gains LEAST_GAIN over the first."""
    means = dice.mean(axis=0)
    best = 1 + int(means[1:].argmax())
    return best if means[best] - means[0] >= LEAST_GAIN else 0


def _nested(dice: NDArray[np.float64]) -> float:
    """Return the mean Dice where each case gets the column that the others would choose."""
    return float(np.mean([row[_best_column(np.delete(dice, n, axis=0))] for n, row in enumerate(dice)]))


def _hits(parts: Parts, truth: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many voxels of each part lie in the reference."""
    return np.bincount(parts.numbers[truth[parts.place]], minlength=len(parts.voxels) + 1)[1:]


def _dice(voxels: int, inside: int, total: int) -> float:
    return Counts(tp=inside, fp=voxels - inside, fn=total - inside, tn=0).dice
