"""From a case's label map to prepared target codes, and from codes to what a loss sees.

Exclusive structures have the codes 1, 2, …, overlapping ones the bits 1, 2, 4, …, of which a pixel may have several.
The code after the last structure's means a pixel that counts for nothing; a target says 255 there in every channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.data.case import Meaning
from segfocal.grid import Volume
from segfocal.resample import ModelGrid
from segfocal.structure import Structure

IGNORED = 255  # in a target of 0 and 1
_FEW = 8  # structures: up to so many are counted faster one by one than by bincount, which casts


@dataclass(frozen=True)
class Coding:
    """What the codes of a prepared target mean.

    structures: how many. overlapping: codes are bits. ignoring: some pixels may count for nothing.
    """

    structures: int
    overlapping: bool = False
    ignoring: bool = False

    def code(self, structure: int) -> int:
        """Return the code of a structure; of one after the last, that of pixels that count for nothing."""
        return 1 << structure if self.overlapping else structure + 1

    def inside(self, codes: NDArray, structure: int) -> NDArray[np.bool_]:
        """Return where codes lie in a structure."""
        code = self.code(structure)
        return (codes & codes.dtype.type(code)) != 0 if self.overlapping else codes == code

    def ignored(self, codes: NDArray) -> NDArray[np.bool_]:
        """Return which codes count for nothing."""
        return self.inside(codes, self.structures) if self.ignoring else np.zeros(codes.shape, dtype=bool)

    def target(self, codes: NDArray) -> NDArray[np.uint8]:
        """Return codes [...] as a target [k, ...]: 1 inside each structure, 255 where pixels count for nothing."""
        own = np.array([self.code(k) for k in range(self.structures)], dtype=codes.dtype)
        own = own.reshape(-1, *[1] * codes.ndim)
        target = ((codes & own) != 0 if self.overlapping else codes == own).astype(np.uint8)
        if self.ignoring:
            target[:, self.ignored(codes)] = IGNORED
        return target

    def counts(self, codes: NDArray) -> NDArray[np.int64]:
        """Return how many codes lie in each structure."""
        if self.overlapping or self.structures <= _FEW:
            return np.array([np.count_nonzero(self.inside(codes, k)) for k in range(self.structures)], dtype=np.int64)
        return np.bincount(codes.ravel(), minlength=self.structures + 1)[1 : self.structures + 1]

    def facts(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


def coding_of(structures: Sequence[Structure], meaning: Meaning) -> Coding:
    """Return what the codes of a case's prepared target mean."""
    overlapping = any(structure.overlaps for structure in structures)
    return Coding(len(structures), overlapping, meaning.ignored is not None)


def coded(
    labels: Volume, grid: ModelGrid, structures: Sequence[Structure], meaning: Meaning
) -> tuple[NDArray[np.unsignedinteger], Coding]:
    """Return the codes [d,h,w] of a label map on the model's grid and what they mean.

    Where pixels hold several voxels the structure with the largest share has it; overlapping ones each from half on.
    """
    coding = coding_of(structures, meaning)
    values = [structure.value for structure in structures]
    values += [] if meaning.ignored is None else [meaning.ignored]
    if not coding.overlapping:
        return grid.labels(labels, values).array, coding
    codes = np.zeros(grid.of(labels.grid).shape, dtype=np.uint8 if len(values) <= 8 else np.uint16)
    for value in values:  # which are the codes
        part = Volume(array=(labels.array & labels.array.dtype.type(value)) != 0, grid=labels.grid)
        codes[grid.labels(part, [1]).array != 0] |= codes.dtype.type(value)
    if coding.ignoring:
        codes[coding.ignored(codes)] = coding.code(len(structures))
    return codes, coding
