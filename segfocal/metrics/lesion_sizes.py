"""Classes of lesions by size: volume V in mm³, or the diameter of a ball of that volume, (6V/π)^(1/3) mm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Measure = Literal["diameter_mm", "mm3"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
_UNITS = {"diameter_mm": "mm", "mm3": "mm³"}


def equivalent_diameter_mm(volume_mm3: ArrayLike) -> NDArray[np.float64]:
    """Return the diameter in mm of a ball of each volume in mm³."""
    return np.cbrt(6 / np.pi * np.asarray(volume_mm3, np.float64))


def size_classes(volume_mm3: ArrayLike, edges: Sequence[float], measure: Measure) -> NDArray[np.int64]:
    """Return the class of each volume in mm³, from 0 to the number of edges; an edge belongs to the class above it.

    Args:
        volume_mm3: volumes [n] of lesions.
        edges: ascending, between the classes, in mm or mm³.
        measure: what the edges are.
    """
    volumes = np.asarray(volume_mm3, np.float64)
    sizes = equivalent_diameter_mm(volumes) if measure == "diameter_mm" else volumes
    return np.searchsorted(np.asarray(edges, np.float64), sizes * (1 + 1e-9), side="right")  # an edge but for rounding


def class_names(edges: Sequence[float], measure: Measure) -> list[str]:
    """Return the name of each class, such as "below 5 mm", "5 to 10 mm" and "from 10 mm"."""
    unit = _UNITS[measure]
    if not edges:
        return ["all"]
    between = [f"{low:g} to {high:g} {unit}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g} {unit}", *between, f"from {edges[-1]:g} {unit}"]
