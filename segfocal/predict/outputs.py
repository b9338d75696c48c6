"""What predicting leaves besides the mask: probabilities, a file for each structure, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.grid import Grid, Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.components import count_components
from segfocal.io.scratch import release
from segfocal.losses.links import margins
from segfocal.structure import Structure

_ONE = 65535  # a probability of 1
_SLICES = 16


def structure_path(mask: Path, name: str) -> Path:
    """Return where what is said of one structure lies: mask.nii.gz → mask_liver.nii.gz."""
    ending = mask.suffix if not mask.name.endswith(".nii.gz") else ".nii.gz"
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
    return mask.with_name(f"{mask.name.removesuffix(ending)}_{safe}{ending}")


class Probabilities:
    """Watches the logits of a scan and keeps each structure's probability, as uint16 where 65535 is 1.

    arrays: one a structure, of the scan's shape.
    """

    def __init__(self, arrays: Sequence[NDArray], bundle: Bundle, grid: Grid) -> None:
        self.arrays, self.link = arrays, bundle.link
        turned = grid.orientation_to(bundle.grid.frame)
        self._views = [turned.apply(array) for array in arrays]

    def __call__(self, start: int, logits: Tensor) -> None:
        """Keep logits [n,k,h,w] of the slices from `start`."""
        if self.link == "softmax":
            logits = margins(logits)
        shares = (logits.sigmoid() * _ONE).round().to(torch.int32).cpu().numpy()
        for k, view in enumerate(self._views):
            view[start : start + len(shares)] = shares[:, k]
            release(self.arrays[k])


@dataclass(frozen=True)
class Sizes:
    """Voxels of each structure, the volume of one, its components, and mean and standard deviation of the scan inside.

    The last two are in the scan's own unit, such as Hounsfield units; None for a structure without a voxel.
    """

    voxels: dict[str, int]
    voxel_ml: float
    components: dict[str, int]
    mean: dict[str, float | None]
    deviation: dict[str, float | None]

    @classmethod
    def of(cls, mask: Volume, scan: Volume, structures: Sequence[Structure]) -> Sizes:
        """Measure the structures of a label map, a few slices at a time; intensities in the first channel."""
        scan = scan.channels()[0]
        sums = {structure.name: np.zeros(3) for structure in structures}
        for start in range(0, mask.array.shape[2], _SLICES):
            part = (..., slice(start, start + _SLICES))
            labels, values = mask.array[part], scan.array[part]
            for structure in structures:
                inside = values[structure.inside(labels)].astype(np.float64)
                sums[structure.name] += inside.size, inside.sum(), (inside**2).sum()
            release(mask.array)
        voxel_ml = abs(float(np.linalg.det(mask.grid.affine[:3, :3]))) / 1000
        mean = {name: float(s[1] / s[0]) if s[0] else None for name, s in sums.items()}
        deviation = {
            name: float(np.sqrt(max(s[2] / s[0] - (s[1] / s[0]) ** 2, 0.0))) if s[0] else None
            for name, s in sums.items()
        }
        voxels = {name: int(s[0]) for name, s in sums.items()}
        return cls(voxels, voxel_ml, _components(mask.array, structures), mean, deviation)

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
