"""What a prediction leaves: the mask, and where asked for a mask and a probability map of each structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.errors import UserError
from segfocal.files import check_new, make_folder
from segfocal.grid import Grid, Volume
from segfocal.inference.bundle import Bundle
from segfocal.io import png, volumes
from segfocal.io.scratch import release, scratch_array
from segfocal.losses.links import margins
from segfocal.predict.options import PredictOptions

_ONE = 65535  # a probability of 1


def report_path(mask: Path) -> Path:
    """Return where the report of a mask lies: mask.nii.gz, mask.png, mask.dcm → mask.json."""
    return mask.with_name(volumes.stem(mask) + ".json")


def structure_path(mask: Path, name: str) -> Path:
    """Return where what is said of one structure lies: mask.nii.gz → mask_liver.nii.gz."""
    ending = mask.suffix if not mask.name.endswith(".nii.gz") else ".nii.gz"
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
    return mask.with_name(f"{mask.name.removesuffix(ending)}_{safe}{ending}")


def check_outputs(options: PredictOptions) -> None:
    """Raise UserError for an output that exists, that no file can have, or in a folder that cannot be written to."""
    outputs = options.outputs
    written = (outputs.mask, report_path(outputs.mask))
    _check_not_input(written, options)
    volumes.check_output(outputs.mask, like=options.scan)
    if png.is_png(outputs.mask) and outputs.probabilities:
        raise UserError(
            expected="a NIfTI scan for probabilities=true", found=options.scan.name, do="leave that option out"
        )
    for path in written:
        check_new(path, overwrite=outputs.overwrite)
    make_folder(outputs.mask.parent)


def _check_not_input(written: Sequence[Path], options: PredictOptions) -> None:
    """Raise UserError when an output would replace one of the inputs, overwrite or not."""
    given = [*options.inputs, *([options.prompts.file] if options.prompts else [])]
    for path in written:
        if path.resolve() in [one.resolve() for one in given]:
            raise UserError(
                expected="outputs beside the inputs, not in their place",
                found="the same file as input and output",
                where=path,
                do="choose another output (its report has the same name, ending in .json)",
            )


class ProbabilityMaps:
    """Keeps each structure's probability, as uint16 where 65535 is 1, of the logits of a scan that it is shown.

    arrays are one a structure, of the scan's shape.
    """

    def __init__(self, arrays: Sequence[NDArray], bundle: Bundle, grid: Grid) -> None:
        self.arrays, self.link = arrays, bundle.link
        turned = grid.orientation_to(bundle.grid.frame)
        self._turned = [turned.apply(array) for array in arrays]

    @classmethod
    @contextmanager
    def on_disk(cls, folder: Path, bundle: Bundle, grid: Grid) -> Iterator[ProbabilityMaps]:
        """Yield maps in scratch files of a folder, which are gone afterwards."""
        with ExitStack() as stack:
            files = [scratch_array(folder, grid.shape, np.uint16) for _ in bundle.structures]
            yield cls([stack.enter_context(file) for file in files], bundle, grid)

    def __call__(self, start: int, logits: Tensor) -> None:
        """Keep the probabilities of logits [n,k,h,w] of the slices from `start`."""
        if self.link == "softmax":
            logits = margins(logits)
        probabilities = (logits.sigmoid() * _ONE).round().to(torch.int32).cpu().numpy()
        for k, turned in enumerate(self._turned):
            turned[start : start + len(probabilities)] = probabilities[:, k]
            release(self.arrays[k])


def write_outputs(
    options: PredictOptions, mask: Volume, maps: ProbabilityMaps | None, bundle: Bundle
) -> dict[str, list[str]]:
    """Write the files that are asked for; return the names of those of each structure, by its name.

    Args:
        options: which files, and where.
        mask: the label map. Of structures that may overlap it is not written, only a mask of each is.
        maps: the probability maps, if they are asked for.
        bundle: whose structures they are of.
    """
    files: dict[str, list[str]] = {}
    outputs = options.outputs
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
