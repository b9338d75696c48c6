"""How well the probabilities of a case rank its voxels: one histogram a structure, read slab by slab."""

from __future__ import annotations

import numpy as np

from segfocal.errors import UserError
from segfocal.evaluate.case_masks import CaseMasks
from segfocal.evaluate.pairing import CaseFiles
from segfocal.io import volumes
from segfocal.io.nifti.probability_maps import open_maps
from segfocal.metrics import RankHistogram


def ranks_of(files: CaseFiles, masks: CaseMasks) -> dict[str, RankHistogram]:
    """Return the histogram of each structure's probabilities, read slab by slab; empty ones without maps."""
    import torch  # seconds to load, and only probabilities need it

    labels, reference = masks.labels, masks.reference
    maps = open_maps(files.probabilities) if files.probabilities else None
    histograms = {name: RankHistogram() for name in labels}
    if maps is None:
        return histograms
    turn = reference.grid.turn_to(maps.grid)
    if turn is None or maps.maps not in (len(labels), len(labels) + 1):
        raise UserError(
            expected=f"{len(labels)} probability maps on the reference's grid, one for each of {', '.join(labels)} (or "
            "one more, the first being the background)",
            found=volumes.difference(reference.grid, maps.grid) if turn is None else f"{maps.maps} maps",
            where=files.probabilities,
            do="write one map a structure along the fourth axis, and name the structures in their order with labels=",
        )
    truth, left_out = turn.apply(reference.array), None if masks.ignored is None else turn.apply(masks.ignored)
    background = maps.maps - len(labels)
    names = [None] * background + list(labels)
    for k, z, values in maps.slabs():
        name = names[k]
        if name is not None:
            inside = np.ascontiguousarray(truth[:, :, z] == labels[name])
            if left_out is not None:
                kept = ~left_out[:, :, z]
                values, inside = values[kept], inside[kept]
            histograms[name].add_probabilities(torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(inside))
    return histograms
