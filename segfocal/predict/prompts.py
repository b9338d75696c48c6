"""The prompts of one scan, whatever file they are in, brought to its bundle's grid as one record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from segfocal.data.label_scheme import LabelScheme
from segfocal.errors import UserError
from segfocal.grid import Grid
from segfocal.inference.bundle import Bundle
from segfocal.inference.prompted.prompt_entries import read_entries
from segfocal.inference.prompted.prompt_file import read_prompts
from segfocal.inference.prompted.propagation_options import PropagationOptions
from segfocal.inference.prompted.scan_prompts import PropagatedPrompts, ScanPrompts, SlicePrompt
from segfocal.inference.prompted.slice_boxes import boxes_from_labels
from segfocal.io import volumes
from segfocal.predict.options import PromptKind, PromptOptions


def files_named(options: PromptOptions) -> list[Path]:
    """Return the file of prompts and the masks that it names, as far as it can be read."""
    if options.kind is not PromptKind.PROPAGATED:
        return [options.file]
    try:
        listed, _ = read_entries(options.file)
    except UserError:  # told when the prompts are read
        return [options.file]
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    masks = [entry["mask"] for entry in entries if isinstance(entry.get("mask"), str) and "\0" not in entry["mask"]]
    return [options.file, *(options.file.parent / mask for mask in masks)]


def propagated(
    prompts: Sequence[SlicePrompt],
    scan: Grid,
    bundle: Bundle,
    *,
    folder: Path,
    embeddings: Path | None = None,
    options: PropagationOptions,
) -> PropagatedPrompts:
    """Return prompts on a few slices, ready to be propagated to the others.

    Args:
        prompts: in the order in which they count.
        scan: the grid of the scan.
        bundle: which answers.
        folder: where answers are kept, and embeddings unless they have a folder of their own.
        embeddings: that folder.
        options: what a slice hands on to the next one, and where that ends.
    """
    return PropagatedPrompts(
        prompts=prompts,
        structures=bundle.structures,
        spacing_mm=bundle.grid.of(scan).spacing_mm,
        session=folder / "answers",
        embeddings=embeddings or folder / "embeddings",
        options=options,
    )


@contextmanager
def prompts_of_scan(options: PromptOptions | None, scan: Grid, bundle: Bundle) -> Iterator[ScanPrompts | None]:
    """Yield the prompts of a scan, ready to be answered; None where there are none.

    Raises:
        UserError: as `read_prompts`, a label map on another grid, and for folders that cannot be written.
    """
    if options is None:
        yield None
    elif options.kind is PromptKind.PROPAGATED:
        prompts = read_prompts(options.file, scan, bundle.structures, bundle.grid)
        with TemporaryDirectory(prefix="segfocal_") as temporary:
            kept = options.session or Path(temporary)
            yield propagated(
                prompts, scan, bundle, folder=kept, embeddings=options.embeddings, options=options.propagation
            )
    elif options.kind is PromptKind.BOXES:
        boxes = read_prompts(options.file, scan, bundle.structures, bundle.grid, boxes_only=True)
        yield ScanPrompts(prompts=boxes, structures=bundle.structures, zoom=options.propagation.zoom)
    else:
        values = {structure.name: structure.value for structure in bundle.structures}
        labels = volumes.read_labels(options.file, on=scan, values=values)
        labels = volumes.laid(labels, scan, options.file, expected="a reference on the scan's grid")
        labels = replace(labels, array=LabelScheme(structures=bundle.structures).read(labels.array))
        yield replace(boxes_from_labels(labels, bundle.structures, bundle.grid), zoom=options.propagation.zoom)
