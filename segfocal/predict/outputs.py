"""What a prediction leaves: the mask, and where asked for a mask and a probability map of each structure."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segfocal.errors import UserError
from segfocal.files import check_new, make_folder
from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.io import png, volumes
from segfocal.predict.options import PredictOptions
from segfocal.predict.prediction import Prediction


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
