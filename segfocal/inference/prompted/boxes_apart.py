"""Which of several boxes in a plane a thing belongs to: whether two overlap, how far a pixel lies outside one."""

from __future__ import annotations

import math
from collections.abc import Sequence


def overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether two boxes x0 y0 x1 y1 share more than an edge."""
    return all(max(one[axis], other[axis]) < min(one[axis + 2], other[axis + 2]) for axis in (0, 1))


def distance_to(box: Sequence[float] | None, place: Sequence[float]) -> float:
    """Return how far a pixel's middle (x, y) lies outside a box of pixels, half-open; 0 inside and without a box."""
    if box is None:
        return 0.0
    beyond = [max(box[axis] - 0.5 - place[axis], place[axis] + 0.5 - box[axis + 2], 0.0) for axis in (0, 1)]
    return math.hypot(*beyond)
