"""What a prediction leaves: the mask, where asked for a mask and a probability map of each structure, the report."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import segfocal
from segfocal.errors import UserError
from segfocal.files import check_apart, check_new, claim, make_folder
from segfocal.grid import Volume
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle import Bundle
from segfocal.inference.postprocess import describe
from segfocal.inference.predictor import Predictor
from segfocal.io import png, volumes
from segfocal.plain_names import fit_name, folded
from segfocal.predict.options import OutputOptions, PredictOptions, PromptKind
from segfocal.predict.prediction import Prediction
from segfocal.predict.prompts import files_named
from segfocal.predict.structure_sizes import StructureSizes
from segfocal.writable import check_writable


def report_path(mask: Path) -> Path:
    """Return where the report of a mask lies: mask.nii.gz, mask.png, mask.dcm → mask.json."""
    return mask.with_name(volumes.stem(mask) + ".json")


@dataclass(frozen=True, kw_only=True)
class OutputFiles:
    """The files of one prediction.

    Args:
        mask: the label map.
        separate: the mask of each structure, in the order of the bundle; none unless asked for.
        probabilities: its map, likewise.
    """

    mask: Path
    separate: tuple[Path, ...] = ()
    probabilities: tuple[Path, ...] = ()

    @classmethod
    def of(cls, outputs: OutputOptions, names: Sequence[str]) -> OutputFiles:
        """Return what is written for structures of these names, each under a name of its own."""
        mask, taken = outputs.mask, {folded(path.name) for path in (outputs.mask, report_path(outputs.mask))}
        separate = [_structure_path(mask, name, taken) for name in names if outputs.separate]
        own = mask.with_suffix(".nii.gz") if volumes.is_segmentation(mask) else mask  # DICOM-SEG has no real numbers
        maps = [_structure_path(own, f"{name}_probability", taken) for name in names if outputs.probabilities]
        return cls(mask=mask, separate=tuple(separate), probabilities=tuple(maps))

    @property
    def all(self) -> list[Path]:
        """All of them and the report."""
        return [self.mask, report_path(self.mask), *self.separate, *self.probabilities]


def _structure_path(mask: Path, name: str, taken: set[str]) -> Path:
    """Return where what is said of one structure lies, and take that: mask.nii.gz → mask_liver.nii.gz.

    A name that is taken, in whatever case, gets a number: PTV 50 and PTV_50 → mask_PTV_50.nii.gz, mask_PTV_50_2.nii.gz.
    """
    ending = mask.suffix if not mask.name.endswith(".nii.gz") else ".nii.gz"
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
    stem = f"{mask.name.removesuffix(ending)}_{fit_name(safe)}"
    numbered = (stem if number == 1 else f"{stem}_{number}" for number in itertools.count(1))
    own = next(one for one in numbered if folded(one + ending) not in taken)
    taken.add(folded(own + ending))
    return mask.with_name(own + ending)


def check_outputs(options: PredictOptions, *, claimed: bool = False) -> None:
    """Raise UserError for an output that exists, that no file can have, or in a folder that cannot be written to.

    None may replace one of the inputs, overwrite or not. claimed: the files are this command's, also after a kill; of
    many scans their manifest says whose a file is.
    """
    outputs = options.outputs
    volumes.check_output(outputs.mask, like=options.scan)
    if png.is_png(outputs.mask) and outputs.probabilities:
        raise UserError(
            expected="a NIfTI scan for probabilities=true", found=options.scan.name, do="leave that option out"
        )
    written = files_written(options)
    folders = _folders_written(options)
    check_apart([*written, *folders], files_read(options))
    for folder in folders:
        check_writable(folder / "any")
    if claimed:
        claim(written, [], overwrite=outputs.overwrite)
    else:
        for path in written:
            check_new(path, overwrite=outputs.overwrite)
    make_folder(outputs.mask.parent)


def files_written(options: PredictOptions) -> list[Path]:
    """Return every file that the prediction of one scan will write, known before its bundle is loaded."""
    return OutputFiles.of(options.outputs, bundles.read_structure_names(options.bundles[0])).all


def files_read(options: PredictOptions) -> list[Path]:
    """Return every file that a prediction reads: scans, slices, bundles, prompts and the masks that those name."""
    read = [path for folder in options.bundles for path in (folder, *folder.glob("*"))]
    for path in options.inputs:
        read.append(path)
        with suppress(UserError):  # of what is no scan: told when it is read
            read += volumes.files_of(path)
    return read + (files_named(options.prompts) if options.prompts else [])


def _folders_written(options: PredictOptions) -> list[Path]:
    """Return the folders that are filled with files of made-up names."""
    if options.prompts is None or options.prompts.kind is not PromptKind.PROPAGATED:
        return []
    return sorted({place for place in (options.prompts.session, options.prompts.embeddings) if place})


def write_outputs(options: PredictOptions, prediction: Prediction, bundle: Bundle) -> dict[str, list[str]]:
    """Write the files that are asked for; return the names of those of each structure, by its name.

    Of structures that may overlap the label map is not written, only a mask of each is.
    """
    files: dict[str, list[str]] = {}
    outputs, mask, maps = options.outputs, prediction.mask, prediction.maps
    planned = OutputFiles.of(outputs, [structure.name for structure in bundle.structures])
    for k, structure in enumerate(bundle.structures):
        if outputs.separate:
            path = planned.separate[k]
            own = Volume(array=structure.inside(mask.array).astype(np.uint8), grid=mask.grid)
            volumes.write(path, own, like=options.scan, overwrite=outputs.overwrite, names={1: structure.name})
            files.setdefault(structure.name, []).append(path.name)
        if maps is not None:
            path = planned.probabilities[k]
            own = Volume(array=maps.arrays[k], grid=mask.grid)
            volumes.write_probabilities(path, own, like=options.scan, overwrite=outputs.overwrite)
            files.setdefault(structure.name, []).append(path.name)
    if not bundle.structures[0].overlaps:
        names = {structure.value: structure.name for structure in bundle.structures}
        volumes.write(outputs.mask, mask, like=options.scan, overwrite=outputs.overwrite, names=names)
    return files


def prediction_report(
    options: PredictOptions,
    predictor: Predictor,
    prediction: Prediction,
    *,
    files: Mapping[str, list[str]],
    sizes: StructureSizes,
) -> dict[str, Any]:
    """Return what the report says, but for the seconds.

    Args:
        options: what was asked for.
        predictor: which answered.
        prediction: what was found.
        files: written of each structure, by its name.
        sizes: of each structure.
    """
    bundle, prompted, foreign = predictor.bundle, options.prompts, prediction.foreign
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
        **({"warning": str(foreign)} if foreign else {}),
        **({"share_outside_training": round(foreign.share, 4)} if foreign and foreign.share is not None else {}),
        "device": str(predictor.device),
        "engine": ", ".join(predictor.engines),
        "batch_size": predictor.batching.size,
    }
