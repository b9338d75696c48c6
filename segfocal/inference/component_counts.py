"""How many components each structure of a label map has, a few slices at a time, so that the map may lie on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from segfocal.connected_components import components
from segfocal.io.scratch import release

_SLICES = 16


def count_components(
    labels: NDArray, *, inside: Callable[[NDArray], NDArray] | None = None, slices: int = _SLICES
) -> dict[int, int]:
    """Return the number of components by label value [x,y,z]; the background 0 and values without a voxel are left out.

    Slabs of `slices` overlap by a slice, in which a voxel names a component of both: those are one. Memory grows with a
    slab, not with the map, and work with the box around what a slab holds. inside: makes of labels the map to count,
    such as of one structure that overlaps others.
    """
    kind = labels.dtype if inside is None else np.dtype(np.uint8)
    values: list[NDArray] = [np.zeros(1, dtype=kind)]  # of each numbered component; 0 is the background
    pairs: list[NDArray] = []
    before: NDArray | None = None
    count = 0
    for start in range(0, max(labels.shape[2] - 1, 1), slices):
        part = labels[:, :, start : start + slices + 1]
        part = part if inside is None else inside(part).view(np.uint8)
        place = _held(part)
        slab = np.asfortranarray(part[place])
        numbers, sizes = components(slab)
        found = np.zeros(len(sizes) + 1, dtype=kind)
        found[numbers.ravel(order="F")] = slab.ravel(order="F")
        values.append(found[1:])
        if before is not None:
            shared = before[place] > 0
            both = np.stack([before[place][shared], numbers[:, :, 0][shared].astype(np.int64) + count], axis=1)
            pairs.append(np.unique(both, axis=0))
        last = numbers[:, :, -1].astype(np.int64)
        before = np.zeros(labels.shape[:2], dtype=np.int64)
        before[place] = np.where(last > 0, last + count, 0)
        count += len(found) - 1
        release(labels)
    return _merged(np.concatenate(values), pairs)


def _held(labels: NDArray) -> tuple[slice, slice]:
    """Return the x and y of a slab [x,y,z] around its voxels that are not 0; the first of each where there is none."""
    held = np.bitwise_or.reduce(labels, axis=2) != 0
    x, y = (np.flatnonzero(held.any(axis=axis)) if held.any() else np.zeros(1, dtype=np.intp) for axis in (1, 0))
    return slice(int(x[0]), int(x[-1]) + 1), slice(int(y[0]), int(y[-1]) + 1)


def _merged(values: NDArray, pairs: list[NDArray]) -> dict[int, int]:
    """Return how many components there are of each value, where pairs of numbers are one."""
    edges = np.concatenate([*pairs, np.zeros((0, 2), dtype=np.int64)])
    graph = coo_array((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(len(values), len(values)))
    _, roots = connected_components(graph, directed=False)
    _, first = np.unique(roots[1:], return_index=True)
    return dict(sorted(Counter(values[1:][first].tolist()).items()))
