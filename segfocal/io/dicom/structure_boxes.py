"""Regions: the voxels of a structure on the grid of an image, as boxes, and the label map that several make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Grid, Volume
from segfocal.io.nifti import smallest_integer_type

Box = tuple[tuple[slice, slice, slice], NDArray[np.bool_]]  # a box [x,y,z] of the image, and which voxels are inside


@dataclass
class Region:
    """A structure by name and by its number in the file, with the boxes that make it up."""

    name: str
    number: int
    boxes: list[Box] = field(default_factory=list)

    @property
    def voxels(self) -> int:
        """How many voxels are inside; one in which boxes overlap counts as often as they do."""
        return sum(int(np.count_nonzero(inside)) for _, inside in self.boxes)


def label_map_of(regions: Sequence[Region], grid: Grid, values: Mapping[str, int]) -> Volume:
    """Return regions as a label map. Where regions overlap, the smaller one has the voxel.

    Args:
        regions: each with a name of its own.
        grid: of the image.
        values: label values by name.
    """
    labels = np.zeros(grid.shape, dtype=smallest_integer_type(np.array([0, *values.values()])), order="F")
    for region in sorted(regions, key=lambda one: -one.voxels):
        for place, inside in region.boxes:
            labels[place][inside] = values[region.name]
    return Volume(array=labels, grid=grid)
