"""What labelled cases are like: geometry, intensities, and how imbalanced they are.

Everything is measured on the scans' own grids, in the frame a model sees (slices first). Of the background, a voxel is

    blank  where the intensity map gives 0: air and what else lies below the window, all alike to a model
    far    more than so many mm, from voxel centre to voxel centre, from every target
    easy   blank or far

Of several channels the intensities are the first one's, and blank is where all of them are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from segfocal.cluster.cluster_settings import HERE, ClusterSettings
from segfocal.cluster.in_order import results_in_order
from segfocal.connected_components import components
from segfocal.data.case import Case
from segfocal.data.ignore_label import ignored_in
from segfocal.data.store.prepare import read_pair
from segfocal.distance_transform import edt
from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.intensity import Intensity, of_channels
from segfocal.io import volumes
from segfocal.parallel import affordable, in_order
from segfocal.structure import Structure

_FEW = 1 << 24  # voxels in all that are read sooner than processes have started
_BYTES_A_VOXEL = 32  # of a case while it is measured, about
_MOST = 20_000  # voxels a case gives to the pooled intensities of each structure, evenly spaced


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """What to measure, and by which rules.

    Args:
        structures: the targets.
        frame: the axes a model sees a scan in.
        intensity: its map to [0,1]: background it maps to 0 is blank.
        far_mm: distance from every target, in mm, above which background is far.
    """

    structures: tuple[Structure, ...]
    frame: str
    intensity: Intensity
    far_mm: float


@dataclass(frozen=True, kw_only=True, eq=False)
class StructureStatistics:
    """One structure in one case.

    Args:
        voxels: of it.
        slices: that hold it.
        components_mm3: the volume of each component (26 neighbours), from the smallest.
        extent_mm: of its bounding box, by axis; zeros where there is none.
        intensities: of up to 20 000 of its voxels.
    """

    voxels: int = 0
    slices: int = 0
    components_mm3: tuple[float, ...] = ()
    extent_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    intensities: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseStatistics:
    """One case: its grid, its structures, and its background.

    Args:
        name: of the case.
        problem: why it could not be read; then the other fields say nothing.
        orientation: the axes on disk.
        shape: slices, rows, columns in the frame of a model.
        spacing_mm: of these.
        structures: by name.
        background: voxels of no structure that are not ignored.
        blank: of these, voxels that the intensity map maps to 0.
        far: of these, voxels far from every target.
        easy: of these, voxels that are blank or far.
        intensities: of up to 20 000 voxels of the background.
    """

    name: str
    problem: str = ""
    orientation: str = ""
    shape: tuple[int, int, int] = (0, 0, 0)
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    structures: dict[str, StructureStatistics] = field(default_factory=dict)
    background: int = 0
    blank: int = 0
    far: int = 0
    easy: int = 0
    intensities: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))


def measure_cases(
    cases: Sequence[Case],
    options: MeasureOptions,
    *,
    workers: int | None,
    cluster: ClusterSettings = HERE,
) -> Iterator[CaseStatistics]:
    """Yield the statistics of each case, in order; each process holds one case in memory.

    Args:
        cases: to measure.
        options: what, and how.
        workers: processes; None for one a core, or a single one where starting them would take longer.
        cluster: whose workers measure in place of processes of this machine.

    Raises:
        UserError: a process that was killed.
    """
    if cluster.kind != "none":
        folders = sorted({case.image.parent for case in cases})
        yield from results_in_order(
            cluster, partial(_measured, options=options), cases, failed=_unmeasured, folders=folders[:1]
        )
        return
    count = _affordable(cases) if workers is None else workers
    yield from in_order(partial(_measured, options=options), cases, count=count, doing="read a case each")


def _affordable(cases: Sequence[Case]) -> int:
    sizes = []
    for case in cases:
        try:
            sizes.append(math.prod(volumes.read_grid(case.image).shape))
        except UserError:  # becomes the problem of its statistics
            continue
    return affordable(max(sizes) * _BYTES_A_VOXEL) if sum(sizes) > _FEW else 1


def _unmeasured(case: Case, why: str) -> CaseStatistics:
    return CaseStatistics(name=case.name, problem=why)


def _measured(case: Case, options: MeasureOptions) -> CaseStatistics:
    try:
        return measure(case, options)
    except UserError as error:
        return CaseStatistics(name=case.name, problem=str(error))


def measure(case: Case, options: MeasureOptions) -> CaseStatistics:
    """Return the statistics of one case; UserError where it cannot be read."""
    scan, labels = read_pair(case)
    channels, values = scan.oriented(options.frame).channels(), labels.oriented(options.frame)
    image, spacing = channels[0], values.grid.spacing_mm
    inside = np.zeros(values.array.shape, dtype=bool)
    structures = {}
    for structure in options.structures:
        mask = structure.inside(values.array)
        inside |= mask
        structures[structure.name] = _structure(mask, image.array, spacing)
    ignored = ignored_in(values.array, case)
    outside = ~inside if ignored is None else ~(inside | ignored)
    blank, far = _blank(channels, options.intensity)[outside], _far(inside, spacing, options.far_mm)[outside]
    return CaseStatistics(
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


def _structure(mask: NDArray[np.bool_], image: NDArray, spacing: tuple[float, float, float]) -> StructureStatistics:
    box = next(iter(find_objects(mask.view(np.uint8))), None)
    if box is None:
        nothing = np.empty(0, np.float32)
        return StructureStatistics(
            voxels=0, slices=0, components_mm3=(), extent_mm=(0.0, 0.0, 0.0), intensities=nothing
        )
    part = mask[box]
    sizes = components(part).sizes
    extent = [n * mm for n, mm in zip(part.shape, spacing, strict=True)]
    return StructureStatistics(
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
    return np.asarray(edt(~inside, spacing=spacing) > far_mm)


def _some(values: NDArray) -> NDArray[np.float32]:
    """Return up to 20 000 of the values, evenly spaced."""
    chosen = np.linspace(0, len(values) - 1, min(len(values), _MOST)).astype(np.intp)
    return np.asarray(values[chosen], dtype=np.float32)
