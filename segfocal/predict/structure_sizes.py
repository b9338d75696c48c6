"""How large the structures of a mask are, in how many pieces, and what the scan holds inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Volume
from segfocal.inference.component_counts import count_components
from segfocal.io.scratch import release
from segfocal.structure import Structure

_SLICES = 16


@dataclass(frozen=True, kw_only=True)
class StructureSizes:
    """How large each structure is, in how many pieces, and what the scan holds inside it, by structure name.

    Args:
        voxels: of the structure.
        voxel_ml: the volume of one voxel.
        components: pieces that touch by faces, edges or corners.
        mean: of the scan inside, in its own unit, such as Hounsfield units; None for a structure without a voxel.
        deviation: the standard deviation there.
    """

    voxels: dict[str, int]
    voxel_ml: float
    components: dict[str, int]
    mean: dict[str, float | None]
    deviation: dict[str, float | None]

    @classmethod
    def of(cls, mask: Volume, scan: Volume, structures: Sequence[Structure]) -> StructureSizes:
        """Measure the structures of a label map, a few slices at a time; intensities in the first channel."""
        scan = scan.channels()[0]
        sums = {structure.name: np.zeros(3) for structure in structures}
        for start in range(0, mask.array.shape[2], _SLICES):
            part = (..., slice(start, start + _SLICES))
            labels, values = mask.array[part].T, scan.array[part].T  # in the order in which they lie in memory
            found = labels != 0
            labels, values = labels[found], values[found].astype(np.float64)
            for structure in structures:
                inside = values[structure.inside(labels)]
                sums[structure.name] += inside.size, inside.sum(), (inside**2).sum()
            release(mask.array)
        voxel_ml = mask.grid.voxel_mm3 / 1000
        mean = {name: float(s[1] / s[0]) if s[0] else None for name, s in sums.items()}
        deviation = {
            name: float(np.sqrt(max(s[2] / s[0] - (s[1] / s[0]) ** 2, 0.0))) if s[0] else None
            for name, s in sums.items()
        }
        voxels = {name: int(s[0]) for name, s in sums.items()}
        return cls(
            voxels=voxels,
            voxel_ml=voxel_ml,
            components=_components(mask.array, structures),
            mean=mean,
            deviation=deviation,
        )

    def facts(self, *, picture: bool) -> dict[str, Any]:
        """Return them for a report: in millilitres, of a picture in pixels."""
        size = (
            {"pixels": self.voxels}
            if picture
            else {"volume_ml": {name: round(count * self.voxel_ml, 3) for name, count in self.voxels.items()}}
        )
        kept = {"mean_intensity": self.mean, "sd_intensity": self.deviation}
        return (
            size
            | {"components": self.components}
            | {
                key: {name: None if v is None else round(v, 2) for name, v in facts.items()}
                for key, facts in kept.items()
            }
        )


def _components(labels: NDArray, structures: Sequence[Structure]) -> dict[str, int]:
    """Return the number of components by name: of all structures at once, unless they overlap."""
    if any(structure.overlaps for structure in structures):
        return {one.name: count_components(labels, inside=one.inside).get(1, 0) for one in structures}
    counts = count_components(labels)
    return {structure.name: counts.get(structure.value, 0) for structure in structures}
