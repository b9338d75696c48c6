"""The components of a prepared target: their numbers, stored beside it voxel by voxel, and a table of its lesions.

A lesion is a connected component of a structure's voxels, those to ignore taken out. Structures are numbered each by
itself, whether they touch or overlap. Numbers are of the whole scan: a lesion that a slice or a crop cuts in two stays
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segfocal.connected_components import Components, components
from segfocal.data.label_scheme import LabelScheme
from segfocal.errors import warn

LESIONS = "lesions.npz"
_MANY = 1000  # lesions of a structure: more are noise, or a threshold gone wrong


@dataclass(frozen=True, kw_only=True, eq=False)
class LesionTable:
    """The lesions of one case, a row each, by structure and number.

    Args:
        structure: [m], which of the target's channels.
        number: [m], from 1, as it stands in the voxels of that channel.
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
    target: NDArray[np.unsignedinteger], scheme: LabelScheme, voxel_mm3: float, *, where: Path | None
) -> tuple[NDArray, LesionTable]:
    """Return the number [d,k,h,w] of the lesion that each voxel of target codes [d,h,w] lies in, and the lesions.

    Args:
        target: codes.
        scheme: what they mean.
        voxel_mm3: volume of a voxel.
        where: the label, for the warning of too many lesions.
    """
    found = [_numbered(scheme.inside(target, k)) for k in range(len(scheme.structures))]
    for structure, one in zip(scheme.structures, found, strict=True):
        if len(one.sizes) > _MANY:
            warn(
                f"{where}: {len(one.sizes)} components of {structure.name}: noise, or a threshold gone wrong? "
                "Each is a lesion to the loss and to data.lesions",
                stacklevel=2,
            )
    counts = [len(one.sizes) for one in found]
    first, last = np.concatenate([_spans(*one) for one in found]).T
    table = LesionTable(
        structure=np.repeat(np.arange(len(found)), counts),
        number=np.concatenate([np.arange(1, count + 1) for count in counts]),
        mm3=np.concatenate([one.sizes for one in found]) * voxel_mm3,
        first=first,
        last=last,
    )
    if len(found) == 1:
        return found[0].numbers[:, None], table
    return np.stack([one.numbers for one in found], axis=1), table


def _numbered(mask: NDArray) -> Components:
    """Return the components of a mask [d,h,w], searched for in the box around it."""
    box = _box(mask)
    found = components(np.ascontiguousarray(mask[box]))
    numbers = np.zeros(mask.shape, np.min_scalar_type(len(found.sizes)))  # the smallest: one a voxel is written
    numbers[box] = found.numbers
    return Components(numbers, found.sizes)


def _box(mask: NDArray) -> tuple[slice, ...]:
    """Return the box around a mask; of an empty one that of its first voxel."""
    along = np.flatnonzero(mask.any((1, 2)))
    if not len(along):
        return (slice(0, 1),) * mask.ndim
    seen = np.asarray(mask[along[0] : along[-1] + 1].any(0))  # from the first axis: what is left is a slice
    held = along, np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return tuple(slice(int(one[0]), int(one[-1]) + 1) for one in held)


def _spans(numbers: NDArray, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first and the last slice [n,2] of each component."""
    spans = np.full((len(sizes) + 1, 2), -1, np.int64)
    for z, one in enumerate(numbers):
        there = np.flatnonzero(np.bincount(one[one > 0], minlength=1))
        spans[there, 0] = np.where(spans[there, 0] < 0, z, spans[there, 0])
        spans[there, 1] = z
    return spans[1:]


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
