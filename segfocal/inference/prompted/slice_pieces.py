"""A line through a volume as the pieces of it that lie in each slice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Piece = tuple[int, tuple[tuple[float, float], ...]]  # a slice, and the points (x, y) of a line in it


def pieces_of(line: NDArray[np.float64], depth: int) -> Iterator[Piece]:
    """Yield the pieces of a line, in its order; a slice that it comes back to has several.

    Args:
        line: [n,3], points (slice, y, x) in voxels, whole at a voxel's middle.
        depth: slices; what lies beyond the first or last one belongs to it.
    """
    for z, parts in itertools.groupby(_parts(line, depth), key=lambda part: part[0]):
        points = itertools.chain.from_iterable(part[1] for part in parts)
        yield z, tuple(point for point, _ in itertools.groupby(points))  # where one part ends the next begins


def _parts(line: NDArray[np.float64], depth: int) -> Iterator[Piece]:
    """Yield straight parts of a line, each in one slice."""
    for start, stop in itertools.pairwise(line if len(line) > 1 else np.repeat(line, 2, axis=0)):
        low, high = sorted((start[0], stop[0]))
        borders = np.arange(np.floor(low + 0.5) + 0.5, high)  # between two slices
        shares = np.sort((borders - start[0]) / (stop[0] - start[0])) if len(borders) else borders
        cuts = start + (stop - start) * shares[:, None]
        for one, other in itertools.pairwise([start.tolist(), *cuts.tolist(), stop.tolist()]):
            z = int(np.clip(np.floor((one[0] + other[0]) / 2 + 0.5), 0, depth - 1))
            yield z, ((one[2], one[1]), (other[2], other[1]))
