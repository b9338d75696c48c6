"""A bundle as files for other programs: ONNX, OpenVINO, or a MONAI bundle; checked against the model on a real scan."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import segfocal
from segfocal.errors import UserError
from segfocal.export import monai_bundle
from segfocal.export.facts import facts, ports
from segfocal.export.halves import write_halves
from segfocal.export.mean_network import load_one
from segfocal.export.onnx_network import OnnxNetwork, OnnxPromptable
from segfocal.export.parity import Parity, compare, compare_prompted
from segfocal.files import check_new, claim, make_folder, write_json
from segfocal.inference.bundle import Bundle
from segfocal.inference.segment import check_channels
from segfocal.io import volumes
from segfocal.models import PromptableModel
from segfocal.models.engines.openvino_engine import OpenVinoNetwork, write_openvino
from segfocal.models.portable import PACKAGES, check_packages, write_network

Format = Literal["onnx", "openvino", "monai_bundle"]
NETWORK, ENCODER, DECODER = "model.onnx", "encoder.onnx", "decoder.onnx"
FACTS, PARITY = "model.json", "parity.json"


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """One bundle to export.

    Args:
        bundle: its folder, or that of an ensemble.
        output: the folder to write.
        scan: what model and exported network are compared on; of several channels the first one's file.
        more: files of its further channels.
        format: onnx, openvino (ONNX and OpenVINO's files) or monai_bundle.
        overlap: share of neighbouring windows, in [0,1), for the comparison and for those who use the files.
        tolerance: by which logits may differ from the model's; float32 sums in another order stay far below 0.001.
        overwrite: whether files of an earlier export are replaced.
    """

    bundle: Path
    output: Path
    scan: Path
    more: tuple[Path, ...] = ()
    format: Format = "onnx"
    overlap: float = 0.5
    tolerance: float = 1e-3
    overwrite: bool = False


def export(options: ExportOptions) -> dict[str, Any]:
    """Write the files of a bundle for other programs, all or none of them; return the comparison with the model.

    Raises:
        UserError: a missing package, files that exist, a bundle or scan that cannot be read, a model that needs prompts
            where the format has none, a network too far from the model.
    """
    started = time.monotonic()
    check_packages(*({"monai_bundle": (), "openvino": (*PACKAGES, "openvino")}.get(options.format, PACKAGES)))
    bundle = load_one(options.bundle)
    if bundle.needs_prompts and options.format != "onnx":
        raise UserError(
            expected=f"a model that segments without a prompt for format={options.format}",
            found="one that was trained with prompts only",
            where=options.bundle,
            do="set format=onnx, which writes image encoder and mask decoder",
        )
    _check_is_taken(bundle, options)
    _check_exclusive(bundle, options)
    claim_files(options, bundle)
    check_channels(bundle, 1 + len(options.more), " for the comparison", do="give scan=[t1.nii.gz,t2.nii.gz]")
    scan = volumes.read_channels((options.scan, *options.more))
    with _all_or_nothing(options.output, overwrite=options.overwrite) as folder:
        if options.format == "monai_bundle":
            network = monai_bundle.write(bundle, folder, overlap=options.overlap)
            parity = compare(scan, bundle, network, overlap=options.overlap)
        else:
            parity = _write_onnx(bundle, folder, scan, options)
        parity.check(options.tolerance)
        report = {
            "segfocal": segfocal.__version__,
            "bundle": str(options.bundle.resolve()),
            "scan": str(options.scan.resolve()),
            "asked": "a box around the middle of every slice" if bundle.needs_prompts else "no prompt",
            **parity.row(options.tolerance),
            "seconds": round(time.monotonic() - started, 1),
        }
        write_json(folder / PARITY, report)
    return report


def claim_files(options: ExportOptions, bundle: Bundle) -> list[Path]:
    """Return every file that an export may consist of; UserError for one that is there unasked, or is read."""
    written = [options.output / name for name in _files_written(options.format, bundle)]
    claim(written, _files_read(options), overwrite=options.overwrite)
    return written


def _check_is_taken(bundle: Bundle, options: ExportOptions) -> None:
    """Raise UserError for a model of volumes with prompts, or of more than a slice of one channel as a MONAI bundle."""
    if bundle.needs_prompts and len(bundle.window) == 3:
        raise UserError(
            expected="a model of slices, where it was trained with prompts only",
            found=f"windows of {'×'.join(map(str, bundle.window))}",
            where=options.bundle,
            do="use segfocal predict or serve, with engine=openvino or onnxruntime",
        )
    if options.format != "monai_bundle":
        return
    if len(bundle.window) == 3 or len(bundle.grid.spacing_mm or ()) == 3:
        raise UserError(
            expected="a model of slices, which keep their distance, for format=monai_bundle",
            found=f"windows of {'×'.join(map(str, bundle.window))} and data.spacing_mm={bundle.grid.spacing_mm}",
            where=options.bundle,
            do="set format=onnx",
        )
    if bundle.inputs > 1:
        raise UserError(
            expected="a model that sees single slices of one channel for format=monai_bundle",
            found=f"{bundle.channels} channel{'s' * (bundle.channels > 1)} and {bundle.neighbours} slices on each side",
            where=options.bundle,
            do="set format=onnx",
        )


def _check_exclusive(bundle: Bundle, options: ExportOptions) -> None:
    """Raise UserError for structures that may overlap: what reads an exported model makes one label map."""
    if bundle.structures[0].overlaps:
        raise UserError(
            expected="structures of which a voxel has one at most",
            found=f"{', '.join(structure.name for structure in bundle.structures)}, which may overlap",
            where=options.bundle,
            do="use segfocal predict separate=true, or train a model for each",
        )


def _files_written(chosen: Format, bundle: Bundle) -> list[str]:
    """Return the names of all files that an export may consist of."""
    if chosen == "monai_bundle":
        return [*monai_bundle.FILES, PARITY]
    networks = [ENCODER, DECODER] if bundle.needs_prompts else [NETWORK]
    beside = [f"{name}.data" for name in networks]  # the weights of large ones
    compiled = ["model.xml", "model.bin"] if chosen == "openvino" else []
    return [*networks, *beside, *compiled, FACTS, PARITY]


def _files_read(options: ExportOptions) -> list[Path]:
    scans = [file for path in (options.scan, *options.more) if volumes.exists(path) for file in volumes.files_of(path)]
    return [*scans, *(file for file in options.bundle.rglob("*") if file.is_file())]


def _write_onnx(bundle: Bundle, folder: Path, scan: Any, options: ExportOptions) -> Parity:
    """Write the network, or both halves of one that needs prompts, with the facts; return how it compares.

    Of ONNX and OpenVINO together the one farther from the model counts.
    """
    networks: Mapping[str, Any]
    if bundle.needs_prompts:
        model = cast(PromptableModel, bundle.model)
        write_halves(model, folder / ENCODER, folder / DECODER, channels=bundle.inputs)
        halves = OnnxPromptable(folder / ENCODER, folder / DECODER, image_size=model.image_size)
        networks = {ENCODER: ports(halves.encoder), DECODER: ports(halves.decoder)}
        parity = compare_prompted(scan, bundle, halves)
    else:
        write_network(bundle.model, folder / NETWORK, (bundle.inputs, *bundle.window))
        network = OnnxNetwork(folder / NETWORK)
        networks = {NETWORK: ports(network.session)}
        parity = compare(scan, bundle, network, overlap=options.overlap)
    write_json(folder / FACTS, facts(bundle, overlap=options.overlap, folder=folder, networks=networks))
    if options.format == "openvino":
        compiled = OpenVinoNetwork(write_openvino(folder / NETWORK))
        parity = parity.worse(compare(scan, bundle, compiled, overlap=options.overlap))
    return parity


def _workplace(output: Path) -> Path:
    """Return a hidden folder beside `output`, of one that has files, or may only be written in itself, one in it."""
    inside = output.is_dir() and (any(output.iterdir()) or not os.access(output.parent, os.W_OK))
    return (output if inside else output.parent) / f".{uuid.uuid4().hex[:8]}.{output.name}"


@contextmanager
def _all_or_nothing(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a hidden folder; when the block ends well its files move to `output`, else nothing is left.

    Raises:
        UserError: one of the files exists there and overwrite is False.
    """
    temporary = _workplace(Path(os.path.abspath(output)))
    make_folder(temporary)
    try:
        yield temporary
        places = {file: output / file.relative_to(temporary) for file in temporary.rglob("*") if file.is_file()}
        for place in places.values():
            check_new(place, overwrite=overwrite)
        if not output.is_symlink() and not (output.is_dir() and any(output.iterdir())):
            os.replace(temporary, output)  # all at once
            return
        for last in (FACTS, PARITY, *monai_bundle.FILES):  # what old files are read by: half of each is no export
            if temporary / last in places:
                (output / last).unlink(missing_ok=True)
        for file in sorted(places, key=lambda file: (file.name == PARITY, file.name == FACTS)):
            make_folder(places[file].parent)
            os.replace(file, places[file])
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
