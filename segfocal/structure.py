"""One thing to segment: its name, and its value in label maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One thing to segment: a channel k of target and logits.

    Args:
        name: as options and results name it.
        value: in label maps.
        overlaps: whether structures may overlap. If so, values are 1, 2, 4, …, and a voxel of a label map holds the sum
            of those it lies in. False, because most label maps give each voxel to one structure.
        of: label values of the data set whose union it is; () for `value` alone.
    """

    name: str
    value: int
    overlaps: bool = False
    of: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", tuple(self.of))  # JSON has lists

    @property
    def label_values(self) -> tuple[int, ...]:
        """The label values of the data set that it is made of."""
        return self.of or (self.value,)

    def inside(self, labels: NDArray) -> NDArray[np.bool_]:
        """Return where a label map says that the structure is."""
        return (labels & labels.dtype.type(self.value)) != 0 if self.overlaps else labels == self.value
