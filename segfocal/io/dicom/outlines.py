"""The outlines of one structure on one slice, filled: what is drawn twice counts once, an outline in another is a hole.

An outline is a polygon [n,2] in voxels. Its own inside is that of the even-odd rule, so a keyhole leaves its hole out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SAME = 0.25  # of a voxel: outlines that are nowhere farther from each other are one, drawn twice
_AT_ONCE = 1 << 20  # distances


@dataclass(frozen=True, kw_only=True, eq=False)
class _Area:
    """The points inside one outline: a box of the lattice, and which of its points."""

    outline: NDArray
    low: NDArray
    high: NDArray
    inside: NDArray[np.bool_]

    @property
    def place(self) -> tuple[slice, slice]:
        return slice(self.low[0], self.high[0]), slice(self.low[1], self.high[1])

    def within(self, other: _Area) -> bool:
        """Return whether all of its points are the other's too."""
        start, stop = self.low - other.low, self.high - other.low
        return bool((self.inside <= other.inside[start[0] : stop[0], start[1] : stop[1]]).all())


def filled(outlines: Sequence[NDArray], shape: tuple[int, int], *, exclusive: bool = False) -> NDArray[np.bool_]:
    """Return which points (i,j) of a lattice a structure covers.

    Of outlines drawn twice, whatever their first point and their direction, one counts. One that lies in another is a
    hole, one in a hole is inside again; where outlines cross, both are inside.

    Args:
        outlines: polygons [n,2] in points of the lattice, in any order.
        shape: of the lattice.
        exclusive: inside is what lies in an odd number of outlines (CLOSEDPLANAR_XOR), also where they cross.
    """
    found = np.zeros(shape, dtype=bool)
    areas = [area for area in (_area(once(outline), shape) for outline in outlines) if area is not None]
    areas = _each_once(sorted(areas, key=lambda area: -int(np.count_nonzero(area.inside))))
    if exclusive:
        for area in areas:
            found[area.place] ^= area.inside
        return found
    depths = _depths(areas)
    for depth, area in sorted(zip(depths, areas, strict=True), key=lambda pair: pair[0]):
        found[area.place][area.inside] = depth % 2 == 0
    return found


def once(outline: NDArray) -> NDArray:
    """Return an outline that is traced several times in a row, or ends where it began, as traced once."""
    moves = np.abs(outline - np.roll(outline, 1, axis=0)).max(axis=1) > 0
    outline = outline[moves] if moves.any() else outline[:1]
    while len(outline) % 2 == 0 and np.array_equal(outline[: len(outline) // 2], outline[len(outline) // 2 :]):
        outline = outline[: len(outline) // 2]
    return outline


def _area(outline: NDArray, shape: tuple[int, int]) -> _Area | None:
    """Return the points inside an outline; None where there are none."""
    low = np.clip(np.ceil(outline.min(0)), 0, shape).astype(int)
    high = np.clip(np.floor(outline.max(0)) + 1, 0, shape).astype(int)
    if (low >= high).any():
        return None
    inside = inside_of([outline - low], (int(high[0] - low[0]), int(high[1] - low[1])))
    return _Area(outline=outline, low=low, high=high, inside=inside) if inside.any() else None


def _each_once(areas: Sequence[_Area]) -> list[_Area]:
    """Return areas without those that are another one again."""
    kept: list[_Area] = []
    ends = np.array([[area.outline.min(0), area.outline.max(0)] for area in areas])
    places: list[int] = []
    for i, area in enumerate(areas):
        near = np.abs(ends[places] - ends[i]).max(axis=(1, 2)) <= 1 if places else np.zeros(0)  # others cannot be it
        if not any(_same(area, kept[k]) for k in np.flatnonzero(near)):
            kept.append(area)
            places.append(i)
    return kept


def _same(one: _Area, other: _Area) -> bool:
    if (one.low == other.low).all() and np.array_equal(one.inside, other.inside):
        return True
    return _off(one.outline, other.outline) and _off(other.outline, one.outline)


def _off(points: NDArray, outline: NDArray) -> bool:
    """Return whether no point [n,2] is farther than `_SAME` from the edges of an outline [m,2]."""
    edge = np.roll(outline, -1, axis=0) - outline
    squared = np.maximum((edge**2).sum(1), 1e-30)
    for part in np.array_split(points, -(-points.shape[0] * outline.shape[0] // _AT_ONCE)):
        away = part[:, None] - outline  # [n,m,2]
        along = np.clip((away * edge).sum(2) / squared, 0, 1)
        distance = ((away - along[..., None] * edge) ** 2).sum(2)
        if distance.min(1).max() > _SAME**2:
            return False
    return True


def _depths(areas: Sequence[_Area]) -> list[int]:
    """Return in how many others each area lies, one in the next; areas come largest first."""
    depths: list[int] = []
    lows, highs = np.array([area.low for area in areas]), np.array([area.high for area in areas])
    for i, area in enumerate(areas):
        around = np.flatnonzero(((lows[:i] <= lows[i]) & (highs[:i] >= highs[i])).all(axis=1)).tolist()
        depths.append(max((depths[k] + 1 for k in around if area.within(areas[k])), default=0))
    return depths


def inside_of(outlines: Sequence[NDArray], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which points (i,j) of a lattice lie inside an odd number of polygons [n,2].

    Where an edge crosses the line of a j, all points from there on change sides. Of points on an edge those on a
    polygon's lower sides are inside. A hundred times faster than asking matplotlib's Path about each point, and unlike
    Pillow's drawing true to fractions of a voxel.
    """
    changes = np.zeros((shape[0] + 1, shape[1]), dtype=np.int32)
    for outline in outlines:
        start, stop = outline, np.roll(outline, -1, axis=0)
        ends = (np.ceil(end(start[:, 1], stop[:, 1])) for end in (np.minimum, np.maximum))
        first, last = (np.clip(end, 0, shape[1]).astype(int) for end in ends)
        counts = last - first
        edge = np.repeat(np.arange(len(outline)), counts)
        j = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
        (x0, y0), (x1, y1) = start[edge].T, stop[edge].T
        crossed = np.ceil(x0 + (j - y0) * (x1 - x0) / (y1 - y0))
        np.add.at(changes, (np.clip(crossed, 0, shape[0]).astype(int), j), 1)
    return np.cumsum(changes, axis=0)[:-1] % 2 == 1
