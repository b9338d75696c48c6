"""The longest and the short axial diameter of a lesion in mm, as they are read off a picture.

In each axial slice the lesion is the convex hull of its pixels, every pixel with its whole area: diameters run from
outer edge to outer edge, and across gaps. The longest diameter is the largest distance of two points of a hull, in the
slice where it is largest. The short one is the longest chord of that hull at right angles to it. Of several longest
ones the one with the longer short one is taken.

A rectangle of w×h mm, w ≥ h, thus has √(w²+h²) and (h/w)·√(w²+h²), and so has a lesion of one voxel: the diagonal of
its pixel and, of a square pixel, the other diagonal. Measured between pixel centres a lesion of one voxel would have no
diameter, and any other one that is shorter by up to a pixel's diagonal. pyradiomics measures between points half-way to
the neighbouring voxels (`Maximum2DDiameterSlice`), which lies between the two.

Source: Eisenhauer et al., "New response evaluation criteria in solid tumours: RECIST 1.1", European Journal of Cancer
45, 2009. Deliberate differences: no person chooses the slice, and a lesion that falls apart in a slice is measured as
one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segfocal.grid import Grid

_TIE = 1e-9  # relative; lengths that differ by less are equal but for their rounding

Corner = tuple[int, int]


class Diameters(NamedTuple):
    """The longest diameter of a lesion, and the longest one at right angles to it in its slice, in mm."""

    longest_mm: float
    short_mm: float


def axial_diameters(lesion: NDArray[np.bool_], grid: Grid) -> Diameters:
    """Measure a lesion in its axial slices: those along the axis of the array that is nearest to the body's.

    Args:
        lesion: mask [x,y,z], or the part of one that holds the lesion.
        grid: of the volume; only the directions and lengths of its axes count.

    Raises:
        ValueError: an empty mask.
    """
    axis = next(i for i, letter in enumerate(grid.frame) if letter in "SI")
    in_plane = [i for i in range(3) if i != axis]
    steps = np.linalg.qr(grid.affine[:3, in_plane])[1]  # the same lengths and angles in two dimensions
    return slice_diameters(np.moveaxis(lesion, axis, 0), steps)


def slice_diameters(slices: NDArray[np.bool_], steps_mm: NDArray[np.float64]) -> Diameters:
    """Measure a lesion in each of its slices.

    Args:
        slices: mask [d,h,w].
        steps_mm: [2,2], the steps in mm along h and w as columns.

    Raises:
        ValueError: an empty mask.
    """
    corners = [_corners(each) for each in slices if each.any()]
    if not corners:
        raise ValueError("expected a lesion; got an empty mask")
    reach = [float(np.linalg.norm(np.ptp(each @ steps_mm.T, axis=0))) for each in corners]  # no diameter is longer
    longest, hulls = 0.0, []
    for i in np.argsort(reach)[::-1]:
        if reach[i] < longest * (1 - _TIE):
            break
        hull = _hull(corners[i]) @ steps_mm.T
        apart = np.linalg.norm(hull[:, None] - hull[None], axis=-1)
        longest = max(longest, float(apart.max()))
        hulls.append((hull, apart))
    enough = longest * (1 - _TIE)
    chords = [
        _widest_chord(hull, int(start), int(end))
        for hull, apart in hulls
        if apart.max() >= enough
        for start, end in np.argwhere(np.triu(apart >= enough))
    ]
    return Diameters(longest, min(max(chords), longest))  # rounding makes none longer than the longest


def _corners(pixels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the outer corners [n,2] of the first and the last pixel of each row: the hull has no others."""
    rows = np.flatnonzero(pixels.any(axis=1))
    first = pixels[rows].argmax(axis=1)
    last = pixels.shape[1] - pixels[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([first, last])
    both = np.concatenate([rows, rows])
    return np.stack([np.concatenate([both, both + 1]), np.concatenate([ends, ends])], axis=1)


def _hull(corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the corners [m,2] of the convex hull in their order around it (Andrew's monotone chain), exactly."""
    ordered = sorted(set(map(tuple, corners.tolist())))
    there, back = _half(ordered), _half(reversed(ordered))
    return np.array(there[:-1] + back[:-1])


def _half(ordered: Iterable[Corner]) -> list[Corner]:
    """Return the corners of one side of the hull of corners in their order along it."""
    chain: list[Corner] = []
    for x, y in ordered:
        while len(chain) > 1 and not _turns_left(chain[-2], chain[-1], (x, y)):
            chain.pop()
        chain.append((x, y))
    return chain


def _turns_left(one: Corner, two: Corner, three: Corner) -> bool:
    return (two[0] - one[0]) * (three[1] - one[1]) > (two[1] - one[1]) * (three[0] - one[0])


def _widest_chord(hull: NDArray[np.float64], start: int, end: int) -> float:
    """Return the longest chord of a hull at right angles to the diameter between two of its corners.

    Over the diameter the hull is bounded by two chains of straight lines, so that the longest chord begins at a corner.
    """
    length = np.linalg.norm(hull[end] - hull[start])
    along = (hull[end] - hull[start]) / length
    places = (hull - hull[start]) @ along
    heights = (hull - hull[start]) @ np.array([-along[1], along[0]])
    widths = np.zeros(len(hull))
    for side in (1, -1):
        beyond = np.flatnonzero(side * heights > _TIE * length)
        beyond = beyond[np.argsort(places[beyond])]
        chain_places = np.concatenate([[0.0], places[beyond], [length]])
        chain_heights = np.concatenate([[0.0], side * heights[beyond], [0.0]])
        widths += np.interp(places, chain_places, chain_heights)
    return float(widths.max())
