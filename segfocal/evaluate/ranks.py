"""What the probabilities of a case say of its structures: how they rank voxels, and how surely they see lesions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.evaluate.case_masks import CaseMasks
from segfocal.evaluate.options import EvaluationSettings
from segfocal.evaluate.pairing import CaseFiles
from segfocal.grid import Orientation
from segfocal.io import volumes
from segfocal.io.nifti.probability_maps import ProbabilityMaps, open_maps
from segfocal.metrics import Candidates, RankHistogram


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """The probabilities of one structure, held against its reference.

    Args:
        histogram: of its voxels.
        candidates: of its lesions; None where lesions are not counted.
    """

    histogram: RankHistogram
    candidates: Candidates | None


def ranks_of(files: CaseFiles, masks: CaseMasks, settings: EvaluationSettings) -> dict[str, Ranked]:
    """Return what the maps of a case say of each structure, read slab by slab; of a case without maps nothing is seen.

    Raises:
        UserError: maps on another grid, more or fewer of them than structures, values that are no probabilities.
    """
    labels, reference = masks.labels, masks.reference.array
    if not files.probabilities:
        nothing = np.broadcast_to(np.float32(0), reference.shape)
        empty = {name: _candidates(nothing, reference == value, settings) for name, value in labels.items()}
        return {name: Ranked(histogram=RankHistogram(), candidates=found) for name, found in empty.items()}
    maps = open_maps(files.probabilities)
    turn = _turn(maps, masks)
    truth, left_out = turn.apply(reference), None if masks.ignored is None else turn.apply(masks.ignored)
    names = [None] * (maps.maps - len(labels)) + list(labels)  # the background before them
    ranked = {}
    for k, slabs in groupby(maps.slabs(), key=itemgetter(0)):
        name = names[k]
        if name is not None:
            pieces = ((z, values) for _, z, values in slabs)
            ranked[name] = _ranked(pieces, truth == labels[name], left_out, settings)
    return ranked


def _turn(maps: ProbabilityMaps, masks: CaseMasks) -> Orientation:
    """Return how the reference is turned onto maps; UserError for other maps than one a structure on its grid."""
    labels, grid = masks.labels, masks.reference.grid
    turn = grid.turn_to(maps.grid)
    if turn is None or maps.maps not in (len(labels), len(labels) + 1):
        raise UserError(
            expected=f"{len(labels)} probability maps on the reference's grid, one for each of {', '.join(labels)} (or "
            "one more, the first being the background)",
            found=volumes.difference(grid, maps.grid) if turn is None else f"{maps.maps} maps",
            where=maps.path,
            do="write one map a structure along the fourth axis, and name the structures in their order with labels=",
        )
    return turn


def _ranked(
    pieces: Iterable[tuple[slice, NDArray[np.float32]]],
    inside: NDArray[np.bool_],
    left_out: NDArray[np.bool_] | None,
    settings: EvaluationSettings,
) -> Ranked:
    """Return what one map says, given its slices z and their values, of the voxels inside a structure."""
    import torch  # seconds to load, and only probabilities need it

    histogram = RankHistogram()
    whole = np.zeros(inside.shape, np.float32) if "lesions" in settings.groups else None
    for z, values in pieces:
        here = np.ascontiguousarray(inside[:, :, z])
        if whole is not None:
            whole[:, :, z] = values if left_out is None else np.where(left_out[:, :, z], 0, values)
        if left_out is not None:
            kept = ~left_out[:, :, z]
            values, here = values[kept], here[kept]
        histogram.add_probabilities(torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(here))
    return Ranked(histogram=histogram, candidates=None if whole is None else _candidates(whole, inside, settings))


def _candidates(
    probabilities: NDArray[np.float32], inside: NDArray[np.bool_], settings: EvaluationSettings
) -> Candidates | None:
    if "lesions" not in settings.groups:
        return None
    return Candidates.of(probabilities, inside, floor=settings.froc_floor, overlap=settings.lesion_overlap)
