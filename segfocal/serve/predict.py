"""A bundle and a scan in, a mask on disk out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import segfocal
from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.inference import bundle as bundles
from segfocal.inference.boxes import boxes_from_file, boxes_from_labels
from segfocal.inference.bundle import Bundle
from segfocal.inference.segment import segment
from segfocal.io import png, volumes
from segfocal.io.files import check_new, make_folder, write_json
from segfocal.serve.prompted import Prompting, prompted_scan

PromptSource = Literal["none", "box"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One scan to segment.

    prompt: "none", or "box" with either `boxes` (a JSON file, see docs/walk.md) or `reference` (a label map whose
    bounding boxes prompt each slice, for evaluation only). overlap: of neighbouring windows. device: auto, cpu, cuda.
    prompting: prompts on a few slices, which are carried to the others.
    """

    bundle: Path
    input: Path
    output: Path
    prompt: PromptSource = "none"
    boxes: Path | None = None
    reference: Path | None = None
    prompting: Prompting | None = None
    overlap: float = 0.5
    batch_size: int = 8
    device: str = "auto"
    overwrite: bool = False


def predict(job: Job) -> dict[str, Any]:
    """Segment a scan, write the mask and beside it a JSON report of the same name; return the report.

    Raises:
        UserError: an output that exists, prompts that do not fit, and whatever reading and loading raise. Nothing is
            half-written.
    """
    started = time.monotonic()
    volumes.check_output(job.output, like=job.input)
    for path in (job.output, report_path(job.output)):
        _check_not_input(path, job)
        check_new(path, overwrite=job.overwrite)
    make_folder(job.output.parent)
    bundle = bundles.load(job.bundle)
    scan = volumes.read(job.input)
    boxes = _boxes(job, scan, bundle)
    device = choose_device(job.device)
    bundle.model.to(device)
    with prompted_scan(job.prompting, scan.grid, bundle, batch_size=job.batch_size) as prompted:
        mask = segment(
            scan,
            bundle,
            boxes=boxes,
            answering=prompted.answered if prompted else None,
            overlap=job.overlap,
            batch_size=job.batch_size,
            device=device,
        )
    volumes.write(job.output, mask, like=job.input, overwrite=job.overwrite)
    report = {
        "segfocal": segfocal.__version__,
        "input": str(job.input.resolve()),
        "bundle": str(job.bundle.resolve()),
        "prompt": job.prompt,
        "prompts_from": _prompts_from(job),
        "structures": {structure.name: structure.value for structure in bundle.structures},
        **_sizes(job, mask, bundle),
        **(prompted.report() if prompted else {}),
        "device": str(device),
        "seconds": round(time.monotonic() - started, 2),
    }
    write_json(report_path(job.output), report)
    return report


def report_path(mask: Path) -> Path:
    """Return where the report of a mask lies: mask.nii.gz → mask.json, mask.png → mask.json."""
    name = mask.stem if png.is_png(mask) else mask.name.removesuffix(".gz").removesuffix(".nii")
    return mask.with_name(name + ".json")


def choose_device(name: str) -> torch.device:
    """Return the device of a setting; "auto" is a CUDA GPU if there is one. UserError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(expected="device auto, cpu or cuda", found=name, do="set device=auto") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(expected="a CUDA GPU for device=cuda", found="none that torch sees", do="set device=auto")
    return device


def _check_not_input(path: Path, job: Job) -> None:
    """Raise UserError when an output would replace one of the inputs, overwrite or not."""
    for given in (job.input, job.boxes, job.reference, job.prompting.file if job.prompting else None):
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
    labels = volumes.read_labels(job.reference)
    difference = scan.grid.difference(labels.grid)
    if difference:
        raise UserError(
            expected="a reference on the scan's grid", found=difference, where=job.reference, do="resample it"
        )
    return boxes_from_labels(labels, bundle.structures, bundle.grid)


def _sizes(job: Job, mask: Volume, bundle: Bundle) -> dict[str, dict[str, float]]:
    """Return how large each structure is: in millilitres, of a picture in pixels."""
    voxels = {s.name: int(np.count_nonzero(mask.array == s.value)) for s in bundle.structures}
    if png.is_png(job.input):
        return {"pixels": dict(voxels)}
    voxel_ml = abs(float(np.linalg.det(mask.grid.affine[:3, :3]))) / 1000
    return {"volume_ml": {name: round(count * voxel_ml, 3) for name, count in voxels.items()}}
