"""Post-processing that training labels ask for: of an organ in one piece, far smaller pieces are another tissue's.

The rule takes away components below a tenth of the largest one's volume. It is for what is large and in one piece in
every training label looked at; a lesion may have a small neighbour in the next scan, so it is never for small targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segfocal.connected_components import components
from segfocal.data.case import Case
from segfocal.data.store.prepare import read_labels
from segfocal.inference.postprocess import PostprocessRules
from segfocal.io import volumes
from segfocal.structure import Structure

SHARE = 0.1  # of the largest component's volume
LEAST_MM3 = 50_000.0  # of the largest component, in every label: 50 ml
SPECKS = 0.005  # share of a structure's voxels that labels may have in smaller components
CASES = 10  # looked at: reading labels takes a second each where scans are big


def organ_rules(cases: Sequence[Case], structures: Sequence[Structure]) -> dict[str, PostprocessRules]:
    """Return the rule by structure name, of those that are an organ in one piece in each of up to CASES labels.

    Pictures, without a volume in mm³, get none. Labels where a structure is missing say nothing about it.

    Args:
        cases: to train on; of many, CASES evenly spaced.
        structures: in the order of the model's channels.
    """
    chosen = cases[:: -(-len(cases) // CASES) or 1]
    agree: dict[str, list[bool]] = {structure.name: [] for structure in structures}
    for case in chosen:
        grid = volumes.read_grid(case.image)
        labels = read_labels(case, grid).array
        for structure in structures:
            sizes = components(structure.inside(labels)).sizes
            if len(sizes):
                agree[structure.name].append(labels.shape[2] > 1 and _is_organ(sizes, grid.voxel_mm3))
    return {name: PostprocessRules(minimum_share=SHARE) for name, all_agree in agree.items() if _all(all_agree)}


def _all(agree: Sequence[bool]) -> bool:
    return bool(agree) and all(agree)


def _is_organ(voxels: NDArray[np.int64], voxel_mm3: float) -> bool:
    """Return whether components of so many voxels are a large piece, and specks at most."""
    most = int(voxels.max())
    return most * voxel_mm3 >= LEAST_MM3 and voxels[voxels < SHARE * most].sum() <= SPECKS * voxels.sum()
