"""The threshold of each structure, chosen on cases that its model never saw.

A focal loss, or a prior, moves the probabilities that a network learns: 0.5 need not be where Dice is best. The chosen
threshold becomes 0.5 again, as the bias of the last layer moves: probability maps, exports and ensembles follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.data.case import Case
from segfocal.data.ignore_label import ignored_in
from segfocal.data.store.prepare import read_pair
from segfocal.inference.bundle import Bundle
from segfocal.inference.segment import segment
from segfocal.metrics import Counts

LEAST_GAIN = 0.01  # of mean Dice: less is noise of few cases
CANDIDATES = tuple(round(0.05 * step, 2) for step in range(1, 20))  # probabilities
_HALF = CANDIDATES.index(0.5)


@dataclass(frozen=True, kw_only=True)
class ThresholdChoice:
    """A threshold and the Dice it rests on, means over cases.

    Args:
        structure: its name.
        threshold: probability in (0,1) above which a voxel belongs to the structure.
        dice_at_half: Dice at 0.5.
        dice: Dice at the threshold; it was chosen on these cases, so it flatters.
        dice_nested: Dice where each case gets the threshold that the others would choose; it does not.
    """

    structure: str
    threshold: float
    dice_at_half: float
    dice: float
    dice_nested: float

    @property
    def logit(self) -> float:
        """The threshold as a logit."""
        return math.log(self.threshold / (1 - self.threshold))

    def row(self) -> dict[str, Any]:
        """Return the fields, rounded for people."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def choose_thresholds(
    members: Iterable[tuple[Bundle, Sequence[Case]]], *, device: torch.device
) -> list[ThresholdChoice]:
    """Return the threshold of each structure with the best mean Dice over all members' cases.

    Args:
        members: bundles, each with the cases that it never saw.
        device: to segment on.
    """
    curves: dict[str, list[NDArray[np.float64]]] = {}
    for bundle, cases in members:
        for case in cases:
            for name, curve in _dice_by_threshold(bundle, case, device=device).items():
                curves.setdefault(name, []).append(curve)
    return [choose(name, np.stack(rows)) for name, rows in curves.items()]


def choose(structure: str, curves: NDArray[np.float64]) -> ThresholdChoice:
    """Return the best of `CANDIDATES` by Dice [cases, candidates]: 0.5 unless another gains LEAST_GAIN.

    As much must be gained where each case gets what the others would choose: a threshold that one case alone asks for
    says little about the next, and one case alone says nothing.
    """
    others = [_best(np.delete(curves, case, axis=0)) if len(curves) > 1 else _HALF for case in range(len(curves))]
    nested = float(np.mean([curve[chosen] for curve, chosen in zip(curves, others, strict=True)]))
    at_half = float(curves[:, _HALF].mean())
    best = _best(curves) if nested - at_half >= LEAST_GAIN else _HALF
    return ThresholdChoice(
        structure=structure,
        threshold=CANDIDATES[best],
        dice_at_half=at_half,
        dice=float(curves[:, best].mean()),
        dice_nested=nested,
    )


def _best(curves: NDArray[np.float64]) -> int:
    means = curves.mean(axis=0)
    best = int(means.argmax())
    return best if means[best] - means[_HALF] >= LEAST_GAIN else _HALF


def _dice_by_threshold(bundle: Bundle, case: Case, *, device: torch.device) -> dict[str, NDArray[np.float64]]:
    """Return the Dice of a case at every candidate, by structure."""
    scan, labels = read_pair(case)
    turned = labels.grid.orientation_to(bundle.grid.frame).apply(labels.array)
    cuts = torch.tensor([math.log(p / (1 - p)) for p in CANDIDATES], device=device)
    above = {structure.name: np.zeros((2, len(CANDIDATES)), np.int64) for structure in bundle.structures}
    inside = dict.fromkeys(above, 0)

    def watch(start: int, logits: Tensor) -> None:
        truth = np.ascontiguousarray(turned[start : start + len(logits)])
        ignored = ignored_in(truth, case)
        for k, structure in enumerate(bundle.structures):
            own, true = logits[:, k], torch.from_numpy(structure.inside(truth)).to(logits.device)
            if ignored is not None:
                counted = torch.from_numpy(~ignored).to(logits.device)
                own, true = own[counted], true[counted]
            inside[structure.name] += int(true.sum())
            for row, values in enumerate((own[true], own[~true])):
                # how many are above each cut, which are sorted: one pass over the voxels
                passed = torch.bucketize(values, cuts).bincount(minlength=len(cuts) + 1)
                above[structure.name][row] += passed.flip(0).cumsum(0).flip(0)[1:].cpu().numpy()

    segment(scan, bundle, device=device, watch=watch)
    return {
        name: np.array([Counts(tp=tp, fp=fp, fn=inside[name] - tp, tn=0).dice for tp, fp in zip(*counts, strict=True)])
        for name, counts in above.items()
    }
