"""Which slice a training sample is: the remedies against imbalance that choose samples rather than weigh pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from segfocal.data.sampling.hard_examples import LastLosses
from segfocal.data.store.prepared_case import PreparedCase


class Rules(Protocol):
    """What a choice is made by: data.foreground, data.rare and data.replay."""

    @property
    def foreground(self) -> float:
        """Share of samples drawn for one structure."""
        ...

    @property
    def rare(self) -> float:
        """Power by which rare structures are preferred, 0 for all alike."""
        ...

    @property
    def replay(self) -> float:
        """Share of samples drawn by the last loss of their slice."""
        ...


class Choice(NamedTuple):
    """A slice of a case, and the structure around a pixel of which it is to be cut; None for anywhere."""

    case: PreparedCase
    slice_index: int
    structure: int | None


class Chooser:
    """Draws the slice of a sample from its random numbers, and from the last losses where `rules.replay` asks for them.

    Cases are drawn alike, then a structure with the share `rules.foreground`, then one of the case's slices that hold
    it. Where all cases are of one slice, as pictures are, or `rules.rare` is above 0, the case too is drawn from those
    that hold the structure. With `rules.rare` a structure's chance is proportional to its number of pixels in the
    training set, to the power −rare: 1 draws one of a hundredth of the pixels a hundred times as often.
    """

    def __init__(self, cases: Sequence[PreparedCase], classes: int, rules: Rules) -> None:
        self.cases, self.classes, self.rules = list(cases), classes, rules
        self.losses = LastLosses([(case.name, case.shape[0]) for case in self.cases]) if rules.replay else None
        self.holding: list[NDArray[np.intp]] | None = None
        self.chances: NDArray[np.float64] | None = None
        if self.cases and (rules.rare or all(case.shape[0] == 1 for case in self.cases)):
            held = np.array([case.pixels.any(axis=1) for case in self.cases]).reshape(len(self.cases), -1)
            self.holding = [np.flatnonzero(column) for column in held.T]
        if self.cases and rules.rare:
            self.chances = rare_first(np.sum([case.pixels.sum(1) for case in self.cases], axis=0), rules.rare)

    def __call__(self, rng: np.random.Generator) -> Choice:
        """Return the next choice of `rng`; the same numbers and losses give the same one."""
        if self.losses and rng.random() < self.rules.replay:
            place, index = self.losses.draw(rng)
            return Choice(self.cases[place], index, None)
        case = self.cases[rng.integers(len(self.cases))]
        wanted = self._structure(rng) if rng.random() < self.rules.foreground else None
        if wanted is not None and self.holding is not None and len(self.holding[wanted]):
            case = self.cases[rng.choice(self.holding[wanted])]
        depth = case.shape[0]
        held = np.flatnonzero(case.pixels[wanted]) if wanted is not None else np.arange(depth)
        index = int(rng.choice(held)) if len(held) else int(rng.integers(depth))
        return Choice(case, index, wanted)

    def _structure(self, rng: np.random.Generator) -> int:
        if self.chances is None:
            return int(rng.integers(self.classes))
        return int(rng.choice(len(self.chances), p=self.chances))


def rare_first(pixels: Sequence[int] | NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """Return the chances [k] ∝ pixels^−power of structures with so many pixels; 0 for one without any."""
    counts = np.asarray(pixels, dtype=np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1) / max(counts.max(), 1), math.inf) ** -power
    return weights / weights.sum() if weights.any() else np.full(len(counts), 1 / len(counts))
