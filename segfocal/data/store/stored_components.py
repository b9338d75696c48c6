"""The components of a prepared target: the cell map that is stored beside it, and a table of its lesions.

A lesion is a connected component of a structure's voxels, those to ignore taken out. Structures are numbered each by
itself, whether they touch or overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segfocal.component_cells import component_cells
from segfocal.data.label_scheme import LabelScheme
from segfocal.errors import warn

LESIONS = "lesions.npz"
KINDS = ("none", "slices", "volumes")  # of cells: none, of each slice by itself, in space
_MANY = 1000  # lesions of a structure: more are noise, or a threshold gone wrong


@dataclass(frozen=True, kw_only=True, eq=False)
class LesionTable:
    """The lesions of one case, a row each, by structure and number.

    Args:
        structure: [m], which of the target's channels.
        number: [m], from 1, as in the cells of that channel.
        mm3: [m], volume.
        first: [m], the first slice that holds a voxel of it.
        last: [m], the last one; all between them hold some.
    """

    structure: NDArray[np.int64]
    number: NDArray[np.int64]
    mm3: NDArray[np.float64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.number)

    def write(self, folder: Path) -> None:
        """Write the table into the folder of a prepared case."""
        np.savez(folder / LESIONS, **vars(self))

    @classmethod
    def read(cls, folder: Path) -> LesionTable:
        """Read what `write` wrote."""
        with np.load(folder / LESIONS) as stored:
            return cls(**{name: stored[name] for name in stored.files})


def number_components(
    target: NDArray[np.unsignedinteger],
    scheme: LabelScheme,
    spacing_mm: Sequence[float],
    *,
    by_slice: bool,
    where: Path | None,
) -> tuple[NDArray, LesionTable]:
    """Return the cells [d,k,h,w] of each structure of target codes [d,h,w], and its lesions.

    Args:
        target: codes.
        scheme: what they mean.
        spacing_mm: (d, h, w) of a voxel.
        by_slice: cells of each slice by itself.
        where: the label, for the warning of too many lesions.
    """
    found = [
        component_cells(scheme.inside(target, k), spacing_mm, by_slice=by_slice) for k in range(len(scheme.structures))
    ]
    for structure, one in zip(scheme.structures, found, strict=True):
        if len(one.sizes) > _MANY:
            warn(
                f"{where}: {len(one.sizes)} components of {structure.name}: noise, or a threshold gone wrong? "
                "Each is a lesion to the loss and to data.lesions",
                stacklevel=2,
            )
    voxel_mm3 = float(np.prod(spacing_mm))
    counts = [len(one.sizes) for one in found]
    first, last = np.concatenate([one.spans for one in found]).T
    table = LesionTable(
        structure=np.repeat(np.arange(len(found)), counts),
        number=np.concatenate([np.arange(1, count + 1) for count in counts]),
        mm3=np.concatenate([one.sizes for one in found]) * voxel_mm3,
        first=first,
        last=last,
    )
    if len(found) == 1:
        return found[0].cells[:, None], table
    return np.stack([one.cells for one in found], axis=1), table


def renumbered(cells: NDArray) -> NDArray[np.int32]:
    """Return cells [k,...] with new numbers that follow on each other in each structure; 0 stays 0.

    Small numbers are summed fast.
    """
    out = np.empty(cells.shape, np.int32)
    for k, one in enumerate(cells):
        flat = one.ravel()
        there = np.bincount(flat) > 0
        there[0] = False
        out[k] = np.cumsum(there, dtype=np.int32)[flat].reshape(one.shape)
    return out
