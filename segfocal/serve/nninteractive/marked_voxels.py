"""Lines and outlines of what a person painted: viewers send a scribble or lasso as the voxels that it marks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import contourpy
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

MOST_VOXELS = 200_000  # of a scribble
MOST_PLACES = 2_000  # of a line
_MOST_LINES = 256
_LEAST_WIDTH = 2.0  # voxels: what lies so near to a line is covered by it
_BEYOND = 0.01  # pixels beyond the middles of the outer ones: as near as they can be told apart from holes
_LEAST_PLACES = 3  # of a lasso
_STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]

Places = NDArray[np.float64]  # [n,3] voxel indices


def lines_through(voxels: NDArray[np.intp]) -> list[Places]:
    """Return lines through voxels [n,3] that touch each other by a side, edge or corner; the longest of a piece first.

    A line is the shortest way within a piece between two ends far apart. What is farther from it than the brush is
    wide, as the other stroke of a cross, gets lines of its own.
    """
    lines: list[Places] = []
    waiting = list(_pieces(voxels))
    while waiting and len(lines) < _MOST_LINES:
        piece = waiting.pop(0)
        line = _longest_way(piece)
        lines.append(_thinned(line))
        width = max(_LEAST_WIDTH, len(piece) / len(line))
        far = cKDTree(line).query(piece)[0] > width
        waiting += [left for left in _pieces(piece[far]) if len(left) > width]
    return lines


def outlines(region: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the outlines [n,2] (row, column) of the pieces of a region [h,w]: closed lines through its outer pixels.

    A lasso is what it goes round, the pixels under its line among it: holes are not kept. The first place is not
    repeated but where a piece has fewer than three.
    """
    padded = np.pad(region, 1).astype(np.float64)
    lines = contourpy.contour_generator(z=padded, name="serial", line_type="Separate").lines(1 - _BEYOND)
    closed = [np.asarray(line)[:-1, ::-1] - 1.0 for line in lines]
    return [_thinned(_through_pixels(line, region)) for line in closed if _area(line) > 0]


def _through_pixels(line: NDArray[np.float64], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a closed line through the middles of a region's pixels that a line passes, three places at least.

    It goes from pixel to pixel by their sides where the region lets it: a diagonal step would touch a pixel beside it.
    """
    pixels = line.round()
    way = []
    for here, there in zip(pixels, np.roll(pixels, -1, axis=0), strict=True):
        if (here != there).any():
            way.append(here)
        if (here != there).all():
            corners = np.array([[here[0], there[1]], [there[0], here[1]]])
            way += list(corners[region[tuple(corners.astype(np.intp).T)]][:1])
    return np.array(way) if len(way) >= _LEAST_PLACES else np.resize(pixels, (_LEAST_PLACES, 2))


def _area(line: NDArray[np.float64]) -> float:
    """Return the signed area in an outline: of holes it has the other sign."""
    rows, columns = line.T
    return float(columns @ np.roll(rows, -1) - rows @ np.roll(columns, -1)) / 2


def _thinned(line: Places) -> Places:
    """Return at most so many places of a line as a prompt may have, its ends among them."""
    if len(line) <= MOST_PLACES:
        return line
    return line[np.linspace(0, len(line) - 1, MOST_PLACES).round().astype(np.intp)]


def _pieces(voxels: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Yield voxels that hang together, the largest piece first."""
    if not len(voxels):
        return
    count, own = connected_components(_neighbours(voxels), directed=False)
    sizes = np.bincount(own, minlength=count)
    for piece in np.argsort(-sizes, kind="stable"):
        yield voxels[own == piece]


def _longest_way(piece: NDArray[np.intp]) -> Places:
    """Return a shortest way [n,3] within a piece from one end to the other."""
    graph = _neighbours(piece)
    start = breadth_first_order(graph, 0, directed=False)[0][-1]
    order, before = breadth_first_order(graph, start, directed=False)
    way = [int(order[-1])]
    while before[way[-1]] >= 0:
        way.append(int(before[way[-1]]))
    return piece[way].astype(np.float64)


def _neighbours(voxels: NDArray[np.intp]) -> coo_array:
    """Return which of some voxels touch, as a graph [n,n]."""
    low = voxels.min(0) - 1
    shape = voxels.max(0) - low + 2
    keys = np.ravel_multi_index(tuple((voxels - low).T), tuple(shape))
    order = np.argsort(keys)
    ranked = keys[order]
    pairs = []
    for step in _STEPS:
        beside = keys + int(np.dot(step, (shape[1] * shape[2], shape[2], 1)))
        at = np.minimum(np.searchsorted(ranked, beside), len(ranked) - 1)
        there = np.flatnonzero(ranked[at] == beside)
        pairs.append(np.stack([there, order[at[there]]]))
    rows, columns = np.concatenate(pairs, axis=1)
    return coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(voxels), len(voxels))).tocsr()
