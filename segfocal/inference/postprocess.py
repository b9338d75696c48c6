"""What is done to a finished label map: small pieces and all but the largest taken away, small holes filled.

A component is a set of a structure's voxels that touch by faces, edges or corners (26 neighbours). A hole is a set of
background voxels that touch by faces (6 neighbours), reaches no border of the volume, and touches one structure alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segfocal.connected_components import components
from segfocal.grid import Volume
from segfocal.structure import Structure

# Neighbours; a pair that keeps a surface closed (Rosenfeld, 1970).
_ROUNDING = 1e-5  # headers hold affines in float32: 5 voxels of 1 mm³ must pass for 5 mm³


@dataclass(frozen=True, kw_only=True)
class PostprocessRules:
    """What is done to one structure, in this order: small components, all but the largest, holes. By default nothing.

    Args:
        largest: whether only the largest component stays (several, if they are equally large).
        minimum_mm3: components of less volume become background.
        minimum_share: so do those of less than this share, in [0,1), of the largest one's volume.
        holes_mm3: holes of at most this volume are filled.

    Raises:
        ValueError: a volume that is negative or not finite, a share outside, a switch that is neither true nor false.
    """

    largest: bool = False
    minimum_mm3: float = 0.0
    holes_mm3: float = 0.0
    minimum_share: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.largest, bool):
            raise ValueError(f"expected largest to be true or false; got {self.largest!r}")
        for name in ("minimum_mm3", "holes_mm3"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"expected {name} to be a volume ≥ 0 mm³; got {value!r}")
        share = self.minimum_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            raise ValueError(f"expected minimum_share to be in [0,1); got {share!r}")

    @property
    def removes(self) -> bool:
        """Whether components may be taken away."""
        return self.largest or self.minimum_mm3 > 0 or self.minimum_share > 0

    def keeps(self, volumes_mm3: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which components of these volumes [n] stay."""
        most = volumes_mm3.max(initial=0.0)
        kept = volumes_mm3 >= max(self.minimum_mm3, self.minimum_share * most) * (1 - _ROUNDING)
        return kept & (volumes_mm3 == most) if self.largest else kept

    def fills(self, volumes_mm3: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which holes of these volumes [n] are filled."""
        return volumes_mm3 <= self.holes_mm3 * (1 + _ROUNDING)


def describe(rules: Mapping[str, PostprocessRules]) -> dict[str, dict[str, Any]]:
    """Return rules by structure name as `read_rules` takes them."""
    return {name: asdict(rule) for name, rule in rules.items()}


def read_rules(facts: Mapping[str, Mapping[str, Any]], structures: Sequence[Structure]) -> dict[str, PostprocessRules]:
    """Return the rules that `describe` wrote; ValueError for ones of no structure, TypeError for an unknown rule."""
    names = [structure.name for structure in structures]
    unknown = sorted(set(facts) - set(names))
    if unknown:
        raise ValueError(f"postprocess names {', '.join(unknown)}, where the structures are {', '.join(names)}")
    return {name: PostprocessRules(**rule) for name, rule in facts.items()}


def clean(labels: Volume, rules: Mapping[int, PostprocessRules]) -> Volume:
    """Return a label map with the rules of each label value applied; the given one stays as it is.

    Every structure is cut back before any hole is filled, and a hole belongs to the one structure around it, so the
    order of structures does not matter. Doing it twice changes nothing more.
    """
    array = labels.array.copy(order="K") if rules else labels.array
    voxel_mm3 = labels.grid.voxel_mm3
    again = bool(rules)
    while again:
        tied = [_cut_back(array, value, rule, voxel_mm3) > 1 for value, rule in rules.items() if rule.removes]
        filled = [_fill(array, value, rule, voxel_mm3) for value, rule in rules.items() if rule.holes_mm3]
        again = any(tied) and any(filled)  # of components equally large one may now be larger
    return Volume(array=array, grid=labels.grid)


class Parts(NamedTuple):
    """Components of a structure, or its holes: numbers [x,y,z] from 1 inside `place` (0 elsewhere), voxels of each."""

    place: tuple[slice, ...]
    numbers: NDArray
    voxels: NDArray[np.int64]


def pieces(array: NDArray, value: int) -> Parts | None:
    """Return the components of a label value [x,y,z] in the box around it; None where it is nowhere."""
    place = _box(array == value)
    if place is None:
        return None
    return Parts(place, *components(array[place] == value))


def holes(array: NDArray, value: int) -> Parts | None:
    """Return the holes of a label value [x,y,z]; None where it is nowhere.

    An axis of one voxel has no border: the holes of a picture are those of its plane.
    """
    place = _box(array == value)
    if place is None:
        return None
    part = array[place]
    numbers, sizes = components(part == 0, faces_only=True)
    count = len(sizes)
    closed = np.ones(count + 1, dtype=bool)
    other = (part != 0) & (part != value)
    for axis in range(array.ndim):
        if array.shape[axis] > 1:
            ends = np.take(numbers, [0, -1], axis=axis)
            closed[np.unique(ends)] = False
        closed[_beside(numbers, other, axis)] = False
    closed[0] = False
    renamed = np.zeros(count + 1, dtype=numbers.dtype)
    renamed[closed] = np.arange(1, closed.sum() + 1)
    return Parts(place, renamed[numbers], sizes[closed[1:]])


def _cut_back(array: NDArray, value: int, rules: PostprocessRules, voxel_mm3: float) -> int:
    """Take components away in place; return how many stay."""
    found = pieces(array, value)
    if found is None:
        return 0
    kept = rules.keeps(found.voxels * voxel_mm3)
    if not kept.all():
        array[found.place][np.r_[False, ~kept][found.numbers]] = 0
    return int(kept.sum())


def _fill(array: NDArray, value: int, rules: PostprocessRules, voxel_mm3: float) -> bool:
    """Fill holes in place; return whether there were any."""
    found = holes(array, value)
    if found is None:
        return False
    small = rules.fills(found.voxels * voxel_mm3)
    if small.any():
        array[found.place][np.r_[False, small][found.numbers]] = value
    return bool(small.any())


def _box(inside: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """Return the box around the true voxels."""
    axes = range(inside.ndim)
    lines = [np.flatnonzero(inside.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return None if not lines[0].size else tuple(slice(int(line[0]), int(line[-1]) + 1) for line in lines)


def _beside(numbers: NDArray, other: NDArray[np.bool_], axis: int) -> NDArray:
    """Return the numbers of parts with a voxel next to an `other` one along an axis."""
    if not other.any():
        return np.zeros(0, dtype=numbers.dtype)
    numbers, other = np.moveaxis(numbers, axis, 0), np.moveaxis(other, axis, 0)
    return np.unique(np.r_[numbers[:-1][other[1:]], numbers[1:][other[:-1]]])
