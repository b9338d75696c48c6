"""What a prediction leaves: the mask, where asked for a mask and a probability map of each structure, the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import segfocal
from segfocal.errors import UserError
from segfocal.files import check_new, make_folder
from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.postprocess import describe
from segfocal.inference.predictor import Predictor
from segfocal.io import png, volumes
from segfocal.predict.options import PredictOptions, PromptKind
from segfocal.predict.prediction import Prediction
from segfocal.predict.structure_sizes import StructureSizes


def report_path(mask: Path) -> Path:
    """Return where the report of a mask lies: mask.nii.gz, mask.png, mask.dcm → mask.json."""
    return mask.with_name(volumes.stem(mask) + ".json")


def structure_path(mask: Path, name: str) -> Path:
    """Return where what is said of one structure lies: mask.nii.gz → mask_liver.nii.gz."""
    ending = mask.suffix if not mask.name.endswith(".nii.gz") else ".nii.gz"
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
    return mask.with_name(f"{mask.name.removesuffix(ending)}_{safe}{ending}")


def check_outputs(options: PredictOptions) -> None:
    """Raise UserError for an output that exists, that no file can have, or in a folder that cannot be written to.

    None may replace one of the inputs, overwrite or not.
    """
    outputs = options.outputs
    written = (outputs.mask, report_path(outputs.mask))
    volumes.check_output(outputs.mask, like=options.scan)
    if png.is_png(outputs.mask) and outputs.probabilities:
        raise UserError(
            expected="a NIfTI scan for probabilities=true", found=options.scan.name, do="leave that option out"
        )
    inputs = {file.resolve() for file in (*options.inputs, *([options.prompts.file] if options.prompts else []))}
    for path in written:
        if path.resolve() in inputs:
            raise UserError(
                expected="outputs beside the inputs, not in their place",
                found="the same file as input and output",
                where=path,
                do="choose another output (its report has the same name, ending in .json)",
            )
        check_new(path, overwrite=outputs.overwrite)
    make_folder(outputs.mask.parent)


def write_outputs(options: PredictOptions, prediction: Prediction, bundle: Bundle) -> dict[str, list[str]]:
    """Write the files that are asked for; return the names of those of each structure, by its name.

    Of structures that may overlap the label map is not written, only a mask of each is.
    """
    files: dict[str, list[str]] = {}
    outputs, mask, maps = options.outputs, prediction.mask, prediction.maps
    for k, structure in enumerate(bundle.structures):
        if outputs.separate:
            path = structure_path(outputs.mask, structure.name)
            own = Volume(array=structure.inside(mask.array).astype(np.uint8), grid=mask.grid)
            volumes.write(path, own, like=options.scan, overwrite=outputs.overwrite, names={1: structure.name})
            files.setdefault(structure.name, []).append(path.name)
        if maps is not None:
            path = structure_path(outputs.mask, f"{structure.name}_probability")
            if volumes.is_segmentation(path):
                path = path.with_suffix(".nii.gz")
            own = Volume(array=maps.arrays[k], grid=mask.grid)
            volumes.write_probabilities(path, own, like=options.scan, overwrite=outputs.overwrite)
            files.setdefault(structure.name, []).append(path.name)
    if not bundle.structures[0].overlaps:
        names = {structure.value: structure.name for structure in bundle.structures}
        volumes.write(outputs.mask, mask, like=options.scan, overwrite=outputs.overwrite, names=names)
    return files


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
