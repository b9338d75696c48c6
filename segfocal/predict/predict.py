"""A bundle and a scan in, a mask on disk out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import segfocal
from segfocal.data.label_scheme import LabelScheme
from segfocal.device import choose_device
from segfocal.errors import UserError
from segfocal.files import check_new, make_folder, write_json
from segfocal.grid import Volume
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle import Bundle
from segfocal.inference.postprocess import describe
from segfocal.inference.predictor import Predictor, Sweeping
from segfocal.inference.prompted.slice_boxes import boxes_from_file, boxes_from_labels
from segfocal.inference.segment import check_channels, label_type, segment_with
from segfocal.io import png, volumes
from segfocal.io.scratch import spooled
from segfocal.predict.outputs import Probabilities, Sizes, structure_path
from segfocal.predict.prompts import Prompting, prompted_scan

PromptSource = Literal["none", "box"]
PostProcessing = Literal["auto", "none"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One scan to segment.

    bundle: one, or several (folds) whose logits are averaged. input: the scan, of several channels the file of the
    first, more: those of the others in the order of training.
    prompt: "none", or "box" with either `boxes` (a JSON file, see docs/walk.md) or `reference` (a label map whose
    bounding boxes prompt each slice, for evaluation only). sweeping: how windows slide. postprocess: "auto" for
    the first bundle's own rules. device: auto, cpu, cuda.
    prompting: prompts on a few slices, which are carried to the others.
    probabilities, separate: a map, a mask of each structure too, in files named after `output` and the structure.
    """

    bundle: Path | Sequence[Path]
    input: Path
    output: Path
    more: tuple[Path, ...] = ()
    prompt: PromptSource = "none"
    boxes: Path | None = None
    reference: Path | None = None
    prompting: Prompting | None = None
    sweeping: Sweeping = field(default_factory=Sweeping)
    postprocess: PostProcessing = "auto"
    probabilities: bool = False
    separate: bool = False
    device: str = "auto"
    overwrite: bool = False

    @property
    def is_prompted(self) -> bool:
        """Whether anything is asked of the model."""
        return self.prompting is not None or self.prompt != "none"

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The file of each channel."""
        return (self.input, *self.more)

    @property
    def bundles(self) -> list[Path]:
        """Return the bundles as a list."""
        return [self.bundle] if isinstance(self.bundle, Path) else list(self.bundle)


def predict(job: Job) -> dict[str, Any]:
    """Segment a scan, write the mask and beside it a JSON report of the same name; return the report.

    Raises:
        UserError: an output that exists, prompts that do not fit, and whatever reading and loading raise. Nothing is
            half-written.
    """
    started = time.monotonic()
    check_job(job)
    predictor = make_predictor(job)
    answer = segment_scan(predictor, job, read_scan(predictor, job))
    return write_answer(predictor, job, answer, started=started)


def read_scan(predictor: Predictor, job: Job) -> Volume:
    """Read the channels of a job's scan; UserError for others than the bundle takes, as many or as they are."""
    check_channels(predictor.bundle, len(job.inputs), f": {', '.join(path.name for path in job.inputs)}")
    return volumes.read_channels(job.inputs)


def make_predictor(job: Job) -> Predictor:
    """Load the bundles of a job onto its device."""
    loaded = [bundles.load(path) for path in job.bundles]
    if loaded[0].structures[0].overlaps and not job.separate:
        raise UserError(
            expected="separate=true for structures that may overlap",
            found="one label map to write, which holds one structure a voxel",
            where=job.bundles[0],
            do="add separate=true: a mask file for each structure, named after output",
        )
    if job.postprocess == "none":
        loaded = [replace(bundle, postprocess={}) for bundle in loaded]
    return Predictor(loaded, settings=job.sweeping, device=choose_device(job.device))


def check_job(job: Job) -> None:
    """Raise UserError for an output that exists, that no file can have, or in a folder that cannot be written to."""
    volumes.check_output(job.output, like=job.input)
    if png.is_png(job.output) and job.probabilities:
        raise UserError(
            expected="a NIfTI scan for probabilities=true", found=job.input.name, do="leave that option out"
        )
    for path in (job.output, report_path(job.output)):
        _check_not_input(path, job)
        check_new(path, overwrite=job.overwrite)
    make_folder(job.output.parent)


@dataclass(frozen=True)
class Answer:
    """A scan and what was found in it, in files beside the output while `held` is open.

    slices: what prompts asked for, for the report.
    """

    scan: Volume
    mask: Volume
    maps: Probabilities | None
    slices: dict[str, Any]
    held: ExitStack


def segment_scan(predictor: Predictor, job: Job, scan: Volume) -> Answer:
    """Segment a scan that was read.

    Masks and maps grow in files beside the output, so that their size is no matter of memory.
    """
    bundle, folder = predictor.bundle, job.output.parent
    boxes = _boxes(job, scan, bundle)
    with ExitStack() as stack:
        out = stack.enter_context(spooled(folder, scan.grid.shape, label_type(bundle.structures)))
        maps = None
        if job.probabilities:
            spools = [spooled(folder, scan.grid.shape, np.uint16) for _ in bundle.structures]
            maps = Probabilities([stack.enter_context(spool) for spool in spools], bundle, scan.grid)
        with prompted_scan(job.prompting, scan.grid, bundle, batch_size=predictor.batching.size) as prompted:
            answering = prompted.answered if prompted else None
            mask = segment_with(predictor, scan, boxes=boxes, answering=answering, watch=maps, out=out)
        return Answer(scan, mask, maps, prompted.report() if prompted else {}, stack.pop_all())


def write_answer(predictor: Predictor, job: Job, answer: Answer, *, started: float) -> dict[str, Any]:
    """Write what a job asks for, the report last; return the report. The answer is gone afterwards."""
    bundle = predictor.bundle
    with answer.held:
        sizes = Sizes.of(answer.mask, answer.scan, bundle.structures)
        files = _write_parts(job, answer.mask, answer.maps, bundle)
        names = {structure.value: structure.name for structure in bundle.structures}
        if not bundle.structures[0].overlaps:
            volumes.write(job.output, answer.mask, like=job.input, overwrite=job.overwrite, names=names)
    report = {
        "segfocal": segfocal.__version__,
        "input": str(job.input.resolve()),
        **({"more": [str(path.resolve()) for path in job.more]} if job.more else {}),
        "bundle": _one_or_all([str(path.resolve()) for path in job.bundles]),
        "prompt": job.prompt,
        "prompts_from": _prompts_from(job),
        "postprocess": describe(bundle.postprocess) if bundle.rules(prompted=job.is_prompted) else {},
        "structures": {structure.name: structure.value for structure in bundle.structures},
        **_made_of(bundle),
        **sizes.facts(picture=png.is_png(job.input)),
        **answer.slices,
        **({"files": files} if files else {}),
        "device": str(predictor.device),
        "batch_size": predictor.batching.size,
        "seconds": round(time.monotonic() - started, 2),
    }
    write_json(report_path(job.output), report)
    return report


def _made_of(bundle: Bundle) -> dict[str, Any]:
    """Return the label values of the training set whose union each structure is, for a report."""
    made = {structure.name: list(structure.of) for structure in bundle.structures if structure.of}
    return {"made_of": made} if made else {}


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _write_parts(job: Job, mask: Volume, maps: Probabilities | None, bundle: Bundle) -> dict[str, list[str]]:
    """Write what is asked for of each structure; return the files' names by structure."""
    files: dict[str, list[str]] = {}
    for k, structure in enumerate(bundle.structures):
        if job.separate:
            path = structure_path(job.output, structure.name)
            own = Volume(array=structure.inside(mask.array).astype(np.uint8), grid=mask.grid)
            volumes.write(path, own, like=job.input, overwrite=job.overwrite, names={1: structure.name})
            files.setdefault(structure.name, []).append(path.name)
        if maps is not None:
            path = structure_path(job.output, f"{structure.name}_probability")
            if volumes.is_segmentation(path):
                path = path.with_suffix(".nii.gz")
            shares = Volume(array=maps.arrays[k], grid=mask.grid)
            volumes.write_probabilities(path, shares, like=job.input, overwrite=job.overwrite)
            files.setdefault(structure.name, []).append(path.name)
    return files


def report_path(mask: Path) -> Path:
    """Return where the report of a mask lies: mask.nii.gz, mask.png, mask.dcm → mask.json."""
    name = (
        mask.stem
        if png.is_png(mask) or volumes.is_segmentation(mask)
        else mask.name.removesuffix(".gz").removesuffix(".nii")
    )
    return mask.with_name(name + ".json")


def _check_not_input(path: Path, job: Job) -> None:
    """Raise UserError when an output would replace one of the inputs, overwrite or not."""
    for given in (*job.inputs, job.boxes, job.reference, job.prompting.file if job.prompting else None):
        if given is not None and given.resolve() == path.resolve():
            raise UserError(
                expected="outputs beside the inputs, not in their place",
                found="the same file as input and output",
                where=path,
                do="choose another output (its report has the same name, ending in .json)",
            )


def _prompts_from(job: Job) -> str | None:
    source = job.prompting.file if job.prompting else job.boxes or job.reference
    return str(source) if source else None


def _boxes(job: Job, scan: Volume, bundle: Bundle) -> torch.Tensor | None:
    if job.prompting and (job.prompt != "none" or job.boxes or job.reference):
        raise UserError(
            expected="prompts=FILE.json alone",
            found="prompt=box, boxes or reference besides",
            do="write the boxes into that file too, or leave it out",
        )
    if job.prompt == "none":
        if job.boxes or job.reference:
            raise UserError(expected="prompt=box with boxes or a reference", found="prompt=none", do="add prompt=box")
        return None
    if (job.boxes is None) == (job.reference is None):
        raise UserError(
            expected="either boxes=FILE.json or reference=LABEL.nii.gz for prompt=box",
            found="neither" if job.boxes is None else "both",
            do="give one of them",
        )
    if job.boxes is not None:
        return boxes_from_file(job.boxes, scan.grid, bundle.structures, bundle.grid)
    assert job.reference is not None
    values = {structure.name: structure.value for structure in bundle.structures}
    labels = volumes.read_labels(job.reference, on=scan.grid, values=values)
    difference = scan.grid.difference(labels.grid)
    if difference:
        raise UserError(
            expected="a reference on the scan's grid", found=difference, where=job.reference, do="resample it"
        )
    labels = replace(labels, array=LabelScheme(structures=bundle.structures).read(labels.array))
    return boxes_from_labels(labels, bundle.structures, bundle.grid)
