"""What labelled cases are like: geometry, intensities, and how imbalanced they are.

Everything is measured on the scans' own grids, in the frame a model sees (slices first). Of the background, a voxel is

    blank  where the intensity map gives 0: air and what else lies below the window, all alike to a model
    far    more than so many mm, from voxel centre to voxel centre, from every target
    easy   blank or far

Of several channels the intensities are the first one's, and blank is where all of them are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import cc3d
import edt  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from segfocal.data.case import Case
from segfocal.data.ignore_label import ignored_in
from segfocal.data.store.prepare import read_pair
from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.intensity import Intensity, of_channels
from segfocal.io import volumes
from segfocal.parallel import affordable, in_order
from segfocal.structure import Structure

PERCENTILES = (0.5, 5, 25, 50, 75, 95, 99.5)
_FEW = 1 << 24  # voxels in all that are read sooner than processes have started
_BYTES_A_VOXEL = 32  # of a case while it is measured, about
_MOST = 20_000  # voxels a case gives to the pooled intensities of each structure, evenly spaced


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What to measure by.

    frame, intensity: as a model sees a scan. far_mm: distance from every target above which background is easy.
    """

    structures: tuple[Structure, ...]
    frame: str
    intensity: Intensity
    far_mm: float


@dataclass(frozen=True, kw_only=True, eq=False)
class StructureFigures:
    """One structure in one case: voxels, slices that hold it, the volume of each component (26 neighbours), its extent.

    extent_mm: of its bounding box, by axis; zeros where there is none. intensities: of some of its voxels.
    """

    voxels: int
    slices: int
    components_mm3: tuple[float, ...]
    extent_mm: tuple[float, float, float]
    intensities: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseFigures:
    """One case: its grid in the frame of a model, the orientation on disk, its structures, and its background.

    problem: why it could not be read, and then nothing else.
    """

    name: str
    problem: str = ""
    orientation: str = ""
    shape: tuple[int, int, int] = (0, 0, 0)
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    structures: dict[str, StructureFigures] = field(default_factory=dict)
    background: int = 0
    blank: int = 0
    far: int = 0
    easy: int = 0
    intensities: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))


def measure_cases(cases: Sequence[Case], by: Measure, *, workers: int | None) -> Iterator[CaseFigures]:
    """Yield the figures of each case, in order, `workers` processes at a time; each holds one case in memory.

    workers: None for one a core, or a single one where starting them would take longer.

    Raises:
        UserError: a process that was killed.
    """
    count = _affordable(cases) if workers is None else workers
    yield from in_order(partial(_measured, by=by), cases, count=count, doing="read a case each")


def _affordable(cases: Sequence[Case]) -> int:
    sizes = []
    for case in cases:
        try:
            sizes.append(math.prod(volumes.read_grid(case.image).shape))
        except UserError:  # told when its turn comes
            continue
    return affordable(max(sizes) * _BYTES_A_VOXEL) if sum(sizes) > _FEW else 1


def _measured(case: Case, by: Measure) -> CaseFigures:
    try:
        return measure(case, by)
    except UserError as error:
        return CaseFigures(name=case.name, problem=str(error))


def measure(case: Case, by: Measure) -> CaseFigures:
    """Return the figures of one case; UserError where it cannot be read."""
    scan, labels = read_pair(case)
    channels, values = scan.oriented(by.frame).channels(), labels.oriented(by.frame)
    image, spacing = channels[0], values.grid.spacing_mm
    inside = np.zeros(values.array.shape, dtype=bool)
    structures = {}
    for structure in by.structures:
        mask = structure.inside(values.array)
        inside |= mask
        structures[structure.name] = _structure(mask, image.array, spacing)
    ignored = ignored_in(values.array, case)
    outside = ~inside if ignored is None else ~(inside | ignored)
    blank, far = _blank(channels, by.intensity)[outside], _far(inside, spacing, by.far_mm)[outside]
    return CaseFigures(
        name=case.name,
        orientation=scan.grid.frame,
        shape=image.grid.shape,
        spacing_mm=spacing,
        structures=structures,
        background=int(blank.size),
        blank=int(blank.sum()),
        far=int(far.sum()),
        easy=int((blank | far).sum()),
        intensities=_some(image.array[outside]),
    )


def _structure(mask: NDArray[np.bool_], image: NDArray, spacing: tuple[float, float, float]) -> StructureFigures:
    box = next(iter(find_objects(mask.view(np.uint8))), None)
    if box is None:
        nothing = np.empty(0, np.float32)
        return StructureFigures(voxels=0, slices=0, components_mm3=(), extent_mm=(0.0, 0.0, 0.0), intensities=nothing)
    part = mask[box]
    # Without a border cc3d (4.1) fails on masks one voxel wide.
    numbers = cc3d.connected_components(np.pad(part, 1), connectivity=26, binary_image=True)
    sizes = np.bincount(numbers.ravel())[1:]
    extent = [n * mm for n, mm in zip(part.shape, spacing, strict=True)]
    return StructureFigures(
        voxels=int(part.sum()),
        slices=int(part.any((1, 2)).sum()),
        components_mm3=tuple(float(size) for size in np.sort(sizes * math.prod(spacing))),
        extent_mm=(extent[0], extent[1], extent[2]),
        intensities=_some(image[box][part]),
    )


def _blank(channels: Sequence[Volume], intensity: Intensity) -> NDArray[np.bool_]:
    """Return where every channel is at or below the lower end of its window."""
    blank = np.ones(channels[0].array.shape, dtype=bool)
    for seen, one in zip(of_channels(intensity, len(channels)), channels, strict=True):
        array = one.array
        blank &= array <= seen.window(partial(np.asarray, array)).lower
    return blank


def _far(inside: NDArray[np.bool_], spacing: tuple[float, float, float], far_mm: float) -> NDArray[np.bool_]:
    if not inside.any():
        return np.ones(inside.shape, dtype=bool)
    distances = edt.edt(np.ascontiguousarray(~inside), anisotropy=spacing, black_border=False)
    return np.asarray(distances > far_mm)


def _some(values: NDArray) -> NDArray[np.float32]:
    """Return up to so many of the values, evenly spaced."""
    places = np.linspace(0, len(values) - 1, min(len(values), _MOST)).astype(np.intp)
    return np.asarray(values[places], dtype=np.float32)


def summarise(cases: Iterable[CaseFigures]) -> dict[str, Any]:
    """Return the fingerprint of cases that could be read: plain numbers, as fingerprint.json holds them.

    Shares are of all voxels and all slices of all cases. Percentiles are of the pooled samples of the cases.
    """
    read = [case for case in cases if not case.problem]
    voxels = sum(math.prod(case.shape) for case in read)
    slices = sum(case.shape[0] for case in read)
    background = sum(case.background for case in read)
    names = read[0].structures if read else {}
    return {
        "cases": len(read),
        "voxels": voxels,
        "slices": slices,
        "shape": _spread([case.shape for case in read]),
        "spacing_mm": _spread([case.spacing_mm for case in read]),
        "orientations": dict(Counter(case.orientation for case in read).most_common()),
        "background": {
            "share": _share(background, voxels),
            "blank_share": _share(sum(case.blank for case in read), background),
            "far_share": _share(sum(case.far for case in read), background),
            "easy_share": _share(sum(case.easy for case in read), background),
            "intensities": _percentiles([case.intensities for case in read]),
        },
        "structures": {
            name: _of_all([case.structures[name] for case in read], voxels=voxels, slices=slices) for name in names
        },
        "by_case": [_row(case) for case in read],
    }


def _of_all(figures: Sequence[StructureFigures], *, voxels: int, slices: int) -> dict[str, Any]:
    sizes = np.sort([size for one in figures for size in one.components_mm3])
    extent = np.max([one.extent_mm for one in figures], axis=0)
    return {
        "cases": sum(one.voxels > 0 for one in figures),
        "voxels": sum(one.voxels for one in figures),
        "voxel_share": _share(sum(one.voxels for one in figures), voxels),
        "slices": sum(one.slices for one in figures),
        "slice_share": _share(sum(one.slices for one in figures), slices),
        "components": len(sizes),
        "component_mm3": {
            "smallest": float(sizes[0]) if len(sizes) else None,
            "median": float(np.median(sizes)) if len(sizes) else None,
            "largest": float(sizes[-1]) if len(sizes) else None,
        },
        "extent_mm": [round(float(mm), 3) for mm in extent],
        "intensities": _percentiles([one.intensities for one in figures]),
    }


def _row(case: CaseFigures) -> dict[str, Any]:
    return {
        "case": case.name,
        "shape": list(case.shape),
        "spacing_mm": [round(mm, 4) for mm in case.spacing_mm],
        "orientation": case.orientation,
        "voxels": {name: one.voxels for name, one in case.structures.items()},
        "components": {name: len(one.components_mm3) for name, one in case.structures.items()},
        "easy_share": _share(case.easy, case.background),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _spread(rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """Return the smallest, median and largest along each axis."""
    array = np.array(rows, dtype=np.float64).reshape(-1, 3)
    found = {"min": array.min(0), "median": np.median(array, axis=0), "max": array.max(0)} if len(array) else {}
    return {name: [round(float(v), 4) for v in values] for name, values in found.items()}


def _percentiles(samples: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    pooled = np.concatenate(samples) if samples else np.empty(0)
    if not len(pooled):
        return {}
    values = np.percentile(pooled, PERCENTILES)
    return {f"{p:g}": round(float(v), 4) for p, v in zip(PERCENTILES, values, strict=True)}
