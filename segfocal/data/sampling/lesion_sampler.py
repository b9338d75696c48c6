"""Draws samples by lesion, each with the same chance, so that a large one does not swallow the draws of small ones.

A voxel of the target drawn alike lies in a lesion of 20 mm a thousand times as often as in one of 2 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segfocal.data.store.prepared_case import PreparedCase
from segfocal.metrics.lesion_sizes import size_classes


class DrawnLesion(NamedTuple):
    """A lesion that was drawn.

    Args:
        case: its number among the cases.
        structure: which channel of the target it is of.
        number: its own, from 1, among those of the structure in the case.
        slice_index: a slice that it lies in.
    """

    case: int
    structure: int
    number: int
    slice_index: int


class LesionSampler:
    """Draws from all lesions of all cases alike, or first a class of size, of those that hold any, then in it alike.

    Args:
        cases: prepared with their components.
        edges: mm, ascending, between classes of the diameter of a ball of a lesion's volume; () for one class.
        share: of samples in (0,1] that are drawn so, for who draws the others too.

    Raises:
        ValueError: cases without a lesion.
    """

    def __init__(self, cases: Sequence[PreparedCase], edges: Sequence[float] = (), *, share: float = 1.0) -> None:
        tables = [case.lesions for case in cases]
        rows = [
            np.stack([np.full(len(one), number), one.structure, one.number, one.first, one.last], axis=1)
            for number, one in enumerate(tables)
        ]
        self.share, self.rows = share, np.concatenate(rows) if rows else np.empty((0, 5), np.int64)
        if not len(self.rows):
            raise ValueError("expected lesions in the training cases, for data.lesions; got none: set it to 0")
        of_class = size_classes(np.concatenate([one.mm3 for one in tables]), edges, "diameter_mm")
        self.classes: list[NDArray[np.intp]] = [np.flatnonzero(of_class == one) for one in np.unique(of_class)]

    def draw(self, rng: np.random.Generator) -> DrawnLesion:
        """Draw a lesion, and one of its slices alike, by the numbers of `rng`."""
        members = self.classes[rng.integers(len(self.classes))] if len(self.classes) > 1 else self.classes[0]
        case, structure, number, first, last = self.rows[rng.choice(members)].tolist()
        return DrawnLesion(case, structure, number, int(rng.integers(first, last + 1)))
