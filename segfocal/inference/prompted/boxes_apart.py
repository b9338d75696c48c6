"""Which of several boxes in a plane a thing belongs to: whether two overlap, how far a pixel lies outside one."""

from __future__ import annotations

import math
from collections.abc import Sequence


def overlap(box_xyxy: Sequence[float], other_xyxy: Sequence[float]) -> bool:
    """Return whether two boxes share more than an edge."""
    return all(max(box_xyxy[axis], other_xyxy[axis]) < min(box_xyxy[axis + 2], other_xyxy[axis + 2]) for axis in (0, 1))


def distance_to(box_xyxy: Sequence[float] | None, point_xy: Sequence[float]) -> float:
    """Return how far a pixel's middle lies outside a box of pixels, half-open; 0 inside and without a box."""
    if box_xyxy is None:
        return 0.0
    beyond = [
        max(box_xyxy[axis] - 0.5 - point_xy[axis], point_xy[axis] + 0.5 - box_xyxy[axis + 2], 0.0) for axis in (0, 1)
    ]
    return math.hypot(*beyond)
