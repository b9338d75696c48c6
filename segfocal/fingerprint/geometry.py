"""Spacing and window that suit labelled cases, from their labels and headers: the defaults, and the recipes of auto."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from segfocal.connected_components import components
from segfocal.data.case import Case
from segfocal.data.store.prepare import read_labels
from segfocal.errors import UserError
from segfocal.io import volumes
from segfocal.structure import Structure

SIDE = 16  # pixels in multiples of which windows come: four halvings
LARGEST = {"coarse": 160, "fine": 224, "own": 256}  # sides of a window; "own": of slices that are not resampled
_ACROSS = 6.0  # pixels that a median component should have across
_COARSEST_MM = 3.0  # and no pixel larger than this
_ENOUGH = 10  # cases that are measured
_AT_A_TIME = 2  # labels read: inflating them leaves Python's lock


@dataclass(frozen=True, kw_only=True)
class Medians:
    """What is measured of cases.

    Args:
        cases: how many were measured.
        spacing_mm: median, slices, rows, columns.
        shape: median, of these.
        components_mm3: by structure that has a voxel, the volume of its median component.
    """

    cases: int
    spacing_mm: tuple[float, ...]
    shape: tuple[float, ...]
    components_mm3: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What decides spacing and window.

    Args:
        slice_mm: distance of slices.
        pixel_mm: median spacing of rows and columns.
        body_mm: median extent of a slice, rows and columns.
        across_mm: diameter of a ball of the volume of the median component of the smallest target.
        smallest: that target.
    """

    slice_mm: float
    pixel_mm: tuple[float, float]
    body_mm: tuple[float, float]
    across_mm: float
    smallest: str = ""

    @classmethod
    def of(cls, fingerprint: Mapping[str, Any]) -> Geometry:
        """Read it from a fingerprint; ValueError where no case holds a target."""
        found = {name: row["component_mm3"]["median"] for name, row in fingerprint["structures"].items()}
        return cls.from_medians(
            Medians(
                cases=fingerprint.get("cases", 1),
                spacing_mm=tuple(fingerprint["spacing_mm"]["median"]),
                shape=tuple(fingerprint["shape"]["median"]),
                components_mm3={name: mm3 for name, mm3 in found.items() if fingerprint["structures"][name]["voxels"]},
            )
        )

    @classmethod
    def from_medians(cls, medians: Medians) -> Geometry:
        """Derive it; ValueError where no case holds a target."""
        if not medians.components_mm3:
            raise ValueError("expected a voxel of some target; got none")
        smallest, mm3 = min(medians.components_mm3.items(), key=lambda item: item[1])
        spacing, shape = medians.spacing_mm, medians.shape
        return cls(
            slice_mm=spacing[0],
            pixel_mm=(spacing[1], spacing[2]),
            body_mm=(spacing[1] * shape[1], spacing[2] * shape[2]),
            across_mm=2 * (3 * mm3 / (4 * math.pi)) ** (1 / 3),
            smallest=smallest,
        )

    @property
    def coarse_mm(self) -> float:
        """The largest pixel that shows the smallest target: a sixth of it, no finer than the scans, at most 3 mm."""
        own = max(self.pixel_mm)
        return round(max(own, min(_COARSEST_MM, self.across_mm / _ACROSS)), 2)

    @property
    def fine_mm(self) -> float:
        """Half of that, no finer than the scans."""
        return round(max(max(self.pixel_mm), self.coarse_mm / 2), 2)

    def window(self, mm: float, kind: str) -> list[int]:
        """Return the sides of a window of pixels of `mm` that holds a slice, if that is not too large."""
        return window_of([body / mm for body in self.body_mm], kind)


def window_of(pixels: Sequence[float], kind: str, *, multiple: int = SIDE) -> list[int]:
    """Return the sides of a window that holds a slice of so many pixels (h, w), if that is not too large.

    Args:
        pixels: of the slice.
        kind: coarse, fine or own: the limit.
        multiple: of which the sides are.
    """
    sides = [math.ceil(round(side, 3) / multiple) * multiple for side in pixels]
    limit = max(LARGEST[kind] // multiple, 1) * multiple
    return [min(max(side, 2 * SIDE), limit) for side in sides]


def measure_medians(cases: Sequence[Case], structures: Sequence[Structure], frame: str) -> Medians | None:
    """Measure labels and headers of some ten cases, evenly by name; more only while none of them holds a target.

    Cases that cannot be read are passed over, as whoever trains on them says what is wrong; None if that is all.

    Args:
        cases: whose labels are read with the target's values.
        structures: the targets.
        frame: the axes a model sees a scan in.
    """
    ordered = sorted(cases, key=lambda case: case.name)
    places = np.linspace(0, len(ordered) - 1, min(len(ordered), _ENOUGH)).round().astype(int).tolist()
    first, rest = [ordered[n] for n in places], [case for n, case in enumerate(ordered) if n not in set(places)]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        read = [one for one in pool.map(partial(_measured, structures=structures, frame=frame), first) if one]
    for case in rest:
        if any(any(sizes) for _, _, sizes in read):
            break
        read += [one for one in [_measured(case, structures=structures, frame=frame)] if one]
    if not read:
        return None
    found = {structure.name: [size for one in read for size in one[2][k]] for k, structure in enumerate(structures)}
    return Medians(
        cases=len(read),
        spacing_mm=tuple(float(mm) for mm in np.median([spacing for spacing, _, _ in read], axis=0).round(4)),
        shape=tuple(float(side) for side in np.median([shape for _, shape, _ in read], axis=0)),
        components_mm3={name: float(np.median(sizes)) for name, sizes in found.items() if sizes},
    )


_Read = tuple[tuple[float, ...], tuple[int, ...], list[list[float]]]  # spacing, shape, component sizes by structure


def _measured(case: Case, *, structures: Sequence[Structure], frame: str) -> _Read | None:
    try:
        labels = read_labels(case, volumes.read_grid(case.image)).oriented(frame)
    except UserError:
        return None
    spacing = labels.grid.spacing_mm
    sizes = [components(structure.inside(labels.array)).sizes * math.prod(spacing) for structure in structures]
    return spacing, labels.grid.shape, [[float(size) for size in each] for each in sizes]
