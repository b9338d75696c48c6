"""The fingerprint of a data set: the statistics of all its cases in one, as fingerprint.json holds it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.fingerprint.measure import CaseStatistics, StructureStatistics

PERCENTILES = (0.5, 5, 25, 50, 75, 95, 99.5)


def summarise(cases: Iterable[CaseStatistics]) -> dict[str, Any]:
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


def _of_all(cases: Sequence[StructureStatistics], *, voxels: int, slices: int) -> dict[str, Any]:
    sizes = np.sort([size for one in cases for size in one.components_mm3])
    extent = np.max([one.extent_mm for one in cases], axis=0)
    return {
        "cases": sum(one.voxels > 0 for one in cases),
        "voxels": sum(one.voxels for one in cases),
        "voxel_share": _share(sum(one.voxels for one in cases), voxels),
        "slices": sum(one.slices for one in cases),
        "slice_share": _share(sum(one.slices for one in cases), slices),
        "components": len(sizes),
        "component_mm3": {
            "smallest": float(sizes[0]) if len(sizes) else None,
            "median": float(np.median(sizes)) if len(sizes) else None,
            "largest": float(sizes[-1]) if len(sizes) else None,
        },
        "extent_mm": [round(float(mm), 3) for mm in extent],
        "intensities": _percentiles([one.intensities for one in cases]),
    }


def _row(case: CaseStatistics) -> dict[str, Any]:
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
