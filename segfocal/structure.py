"""One thing to segment: its name, and its value in label maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One thing to segment, a channel k of target and logits: its name and its value in label maps.

    overlaps: structures may overlap, and a label map is the sum of the values 1, 2, 4, … of those a voxel lies in.
    of: the label values of the data set whose union it is, where that is not `value` alone.
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
