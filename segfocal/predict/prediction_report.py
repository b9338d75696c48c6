"""The report beside a mask: what was asked, by which bundle, and how large each structure is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import segfocal
from segfocal.grid import Volume
from segfocal.inference.component_counts import count_components
from segfocal.inference.postprocess import describe
from segfocal.inference.predictor import Predictor
from segfocal.io import png
from segfocal.io.scratch import release
from segfocal.predict.options import PredictOptions, PromptKind
from segfocal.predict.prediction import Prediction
from segfocal.structure import Structure

_SLICES = 16


@dataclass(frozen=True, kw_only=True)
class StructureSizes:
    """How large each structure is, in how many pieces, and what the scan holds inside it, by structure name.

    Args:
        voxels: of the structure.
        voxel_ml: the volume of one voxel.
        components: pieces that touch by faces, edges or corners.
        mean: of the scan inside, in its own unit, such as Hounsfield units; None for a structure without a voxel.
        deviation: the standard deviation there.
    """

    voxels: dict[str, int]
    voxel_ml: float
    components: dict[str, int]
    mean: dict[str, float | None]
    deviation: dict[str, float | None]

    @classmethod
    def of(cls, mask: Volume, scan: Volume, structures: Sequence[Structure]) -> StructureSizes:
        """Measure the structures of a label map, a few slices at a time; intensities in the first channel."""
        scan = scan.channels()[0]
        sums = {structure.name: np.zeros(3) for structure in structures}
        for start in range(0, mask.array.shape[2], _SLICES):
            part = (..., slice(start, start + _SLICES))
            labels, values = mask.array[part], scan.array[part]
            for structure in structures:
                inside = values[structure.inside(labels)].astype(np.float64)
                sums[structure.name] += inside.size, inside.sum(), (inside**2).sum()
            release(mask.array)
        voxel_ml = mask.grid.voxel_mm3 / 1000
        mean = {name: float(s[1] / s[0]) if s[0] else None for name, s in sums.items()}
        deviation = {
            name: float(np.sqrt(max(s[2] / s[0] - (s[1] / s[0]) ** 2, 0.0))) if s[0] else None
            for name, s in sums.items()
        }
        voxels = {name: int(s[0]) for name, s in sums.items()}
        return cls(
            voxels=voxels,
            voxel_ml=voxel_ml,
            components=_components(mask.array, structures),
            mean=mean,
            deviation=deviation,
        )

    def facts(self, *, picture: bool) -> dict[str, Any]:
        """Return them for a report: in millilitres, of a picture in pixels."""
        size = (
            {"pixels": self.voxels}
            if picture
            else {"volume_ml": {name: round(count * self.voxel_ml, 3) for name, count in self.voxels.items()}}
        )
        kept = {"mean_intensity": self.mean, "sd_intensity": self.deviation}
        return (
            size
            | {"components": self.components}
            | {
                key: {name: None if v is None else round(v, 2) for name, v in facts.items()}
                for key, facts in kept.items()
            }
        )


def _components(labels: NDArray, structures: Sequence[Structure]) -> dict[str, int]:
    """Return the number of components by name: of all structures at once, unless they overlap."""
    if any(structure.overlaps for structure in structures):
        return {one.name: count_components(labels, inside=one.inside).get(1, 0) for one in structures}
    counts = count_components(labels)
    return {structure.name: counts.get(structure.value, 0) for structure in structures}


def prediction_report(
    options: PredictOptions, predictor: Predictor, prediction: Prediction, files: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Return what the report says, but for the seconds.

    Args:
        options: what was asked for.
        predictor: which answered.
        prediction: what was found, its files still open.
        files: written of each structure, by its name.
    """
    bundle, prompted = predictor.bundle, options.prompts
    sizes = StructureSizes.of(prediction.mask, prediction.scan, bundle.structures)
    made_of = {structure.name: list(structure.of) for structure in bundle.structures if structure.of}
    more = [str(path.resolve()) for path in options.inputs[1:]]
    folders = [str(path.resolve()) for path in options.bundles]
    return {
        "segfocal": segfocal.__version__,
        "input": str(options.scan.resolve()),
        **({"more": more} if more else {}),
        "bundle": folders[0] if len(folders) == 1 else folders,
        "prompt": "box" if prompted and prompted.kind is not PromptKind.PROPAGATED else "none",
        "prompts_from": str(prompted.file) if prompted else None,
        "postprocess": describe(bundle.postprocess) if bundle.rules(prompted=prompted is not None) else {},
        "structures": {structure.name: structure.value for structure in bundle.structures},
        **({"made_of": made_of} if made_of else {}),  # values of the training set whose union a structure is
        **sizes.facts(picture=png.is_png(options.scan)),
        **prediction.prompts_report,
        **({"files": files} if files else {}),
        "device": str(predictor.device),
        "batch_size": predictor.batching.size,
    }
