"""Which slice a training sample is: oversampling of foreground, rare structures and hard slices.

These remedies against imbalance choose samples; class weights and losses weigh pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segfocal.data.sampling.hard_examples import LastLosses
from segfocal.data.sampling.lesion_sampler import LesionSampler
from segfocal.data.store.prepared_case import PreparedCase


class DrawnSlice(NamedTuple):
    """A slice that was drawn, and what it is to be cut around.

    Args:
        case: that it is of.
        slice_index: its own, from 0.
        structure: around a pixel of which it is to be cut; None for anywhere.
        lesion: the number of that structure's lesion around a pixel of which it is to be cut; None for any of them.
    """

    case: PreparedCase
    slice_index: int
    structure: int | None
    lesion: int | None = None


class SliceSampler:
    """Draws the slice of a sample from its random numbers, and from the last losses where `replay` asks for them.

    First it is drawn whether one is replayed, then whether it is that of a lesion; the others are as follows.

    Cases are drawn alike, then a structure with the probability `foreground`, then one of the case's slices that hold
    it. Where all cases are of one slice, as pictures are, or `rare` is above 0, the case too is drawn from those that
    hold the structure.

    Args:
        cases: to draw from.
        classes: structures of the target.
        foreground: share of samples in [0,1] that are drawn for one structure.
        rare: power p ≥ 0: a structure's chance is proportional to its pixels in the training set to −p. 0 draws all
            alike, 1 one of a hundredth of the pixels a hundred times as often.
        replay: share of samples in [0,1] drawn by the last loss of their slice, before any other is drawn.
        lesions: draws a share of the samples from all lesions; None for no such share.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        classes: int,
        *,
        foreground: float,
        rare: float = 0.0,
        replay: float = 0.0,
        lesions: LesionSampler | None = None,
    ) -> None:
        self.lesions = lesions
        self.cases, self.classes, self.foreground, self.replay = list(cases), classes, foreground, replay
        self.losses = LastLosses([(case.name, case.shape[0]) for case in self.cases]) if replay else None
        self.holding: list[NDArray[np.intp]] | None = None
        self.chances: NDArray[np.float64] | None = None
        if self.cases and (rare or all(case.shape[0] == 1 for case in self.cases)):
            held = np.array([case.pixels.any(axis=1) for case in self.cases]).reshape(len(self.cases), -1)
            self.holding = [np.flatnonzero(column) for column in held.T]
        if self.cases and rare:
            self.chances = rare_first(np.sum([case.pixels.sum(1) for case in self.cases], axis=0), rare)

    def draw(self, rng: np.random.Generator) -> DrawnSlice:
        """Draw a slice by the numbers of `rng`; the same numbers and losses give the same one."""
        if self.losses and rng.random() < self.replay:
            number, index = self.losses.draw(rng)
            return DrawnSlice(self.cases[number], index, None)
        if self.lesions and rng.random() < self.lesions.share:
            lesion = self.lesions.draw(rng)
            return DrawnSlice(self.cases[lesion.case], lesion.slice_index, lesion.structure, lesion.number)
        case = self.cases[rng.integers(len(self.cases))]
        wanted = self._structure(rng) if rng.random() < self.foreground else None
        if wanted is not None and self.holding is not None and len(self.holding[wanted]):
            case = self.cases[rng.choice(self.holding[wanted])]
        depth = case.shape[0]
        held = np.flatnonzero(case.pixels[wanted]) if wanted is not None else np.arange(depth)
        index = int(rng.choice(held)) if len(held) else int(rng.integers(depth))
        return DrawnSlice(case, index, wanted)

    def _structure(self, rng: np.random.Generator) -> int:
        if self.chances is None:
            return int(rng.integers(self.classes))
        return int(rng.choice(len(self.chances), p=self.chances))


def rare_first(pixels: Sequence[int] | NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """Return the chances [k] ∝ pixels^−power of structures with so many pixels; 0 for one without any."""
    counts = np.asarray(pixels, dtype=np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1) / max(counts.max(), 1), math.inf) ** -power
    return weights / weights.sum() if weights.any() else np.full(len(counts), 1 / len(counts))
