"""Corrected masks as a data set: a folder of images and one of labels, which `train data.root=` reads as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.files import check_apart, make_folder, write_json, written_beside
from segfocal.grid import Grid, Volume
from segfocal.io import nifti, png, volumes
from segfocal.io.dicom.file_kinds import is_dicom
from segfocal.serve.scans import ServedScan
from segfocal.structure import Structure
from segfocal.typed_words import line, option

NAMES = "label_names.json"
_BLOCK = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The files of one scan: its images, one a channel, its label and its prompts."""

    images: tuple[Path, ...]
    mask: Path
    prompts: Path


def places(folder: Path, scan: ServedScan) -> Saved:
    """Return where the files of a scan lie in a data set."""
    many, name = len(scan.files) > 1, scan.stem
    ending = png.SUFFIX if png.is_png(scan.files[0]) else ".nii.gz"
    images = []
    for number, path in enumerate(scan.files):
        own = ".nii" if path.name.lower().endswith(".nii") else ending
        images.append(folder / "images" / f"{name}{f'_{number:04d}' if many else ''}{own}")
    return Saved(
        images=tuple(images), mask=folder / "labels" / f"{name}{ending}", prompts=folder / "prompts" / f"{name}.json"
    )


def save(
    folder: Path, scan: ServedScan, labels: NDArray, *, grid: Grid, prompts: Sequence[dict[str, Any]], beside: Path
) -> Saved:
    """Write a mask like its scan, with its prompts, and the scan beside it; each file whole or not at all.

    Args:
        folder: of the data set.
        scan: that was corrected.
        labels: its label values.
        grid: of the scan.
        prompts: entries of a file of prompts.
        beside: the folder of the masks that these name.

    Raises:
        UserError: a folder that cannot be written, or in which a file would take the place of the scan.
    """
    files = places(folder, scan)
    names = sorted({entry["mask"] for entry in prompts if "mask" in entry})
    masks = {name: files.prompts.with_name(f"{scan.stem}_{name}") for name in names}
    check_apart([files.mask, files.prompts, *masks.values()], scan.files)
    for image, source in zip(files.images, scan.files, strict=True):
        _share(source, image)
    for name, target in masks.items():
        _copy(beside / name, target)
    entries = [{**one, "mask": masks[one["mask"]].name} if "mask" in one else one for one in prompts]
    write_json(files.prompts, entries)
    volumes.write(files.mask, Volume(array=labels, grid=grid), like=scan.files[0], overwrite=True)
    return files


def written_masks(
    folder: Path, stem: str, inside: Mapping[str, NDArray], *, grid: Grid, like: Path | Grid
) -> list[dict[str, Any]]:
    """Write the masks of structures, without those that are empty; return the entries of prompts that name them.

    Args:
        folder: where they go.
        stem: with which the files' names begin.
        inside: by structure, where it is.
        grid: of the scan.
        like: what gives the files their geometry.
    """
    entries = []
    for number, (name, marked) in enumerate(inside.items()):
        if marked.any():
            file = f"{stem}_{number}.nii.gz"
            nifti.write(folder / file, Volume(array=marked.astype(np.uint8), grid=grid), like=like, overwrite=True)
            entries.append({"structure": name, "mask": file, "value": 1})
    return entries


def write_names(folder: Path, structures: Sequence[Structure]) -> Path:
    """Write the names of label values, as `data.label_names=` reads them; return the file."""
    write_json(folder / NAMES, {str(one.value): one.name for one in structures})
    return folder / NAMES


def train_words(folder: Path, structures: Sequence[Structure], more: Sequence[str] = ()) -> list[str]:
    """Return the words of the command that trains on what was corrected; it names structures by their values.

    Args:
        folder: of corrected masks.
        structures: of the model.
        more: options, as those that make the same model and begin with its weights.
    """
    values = [one.value for one in structures]
    words = [
        "segfocal",
        "train",
        "data=folder",
        option("data.root", folder),
        option("data.label_names", folder / NAMES),
    ]
    words.append(f"target={values[0] if len(values) == 1 else values}".replace(" ", ""))
    words += ["data.overlap=true"] if structures[0].overlaps else []
    return [*words, *more]


def train_command(folder: Path, structures: Sequence[Structure], more: Sequence[str] = ()) -> str:
    """Return those words as a line for a shell."""
    return line(train_words(folder, structures, more))


def _share(source: Path, target: Path) -> None:
    """Put a scan in a data set: a second name of its file where the disk knows such, else a copy; DICOM as NIfTI."""
    if target.exists() and os.path.samefile(source, target):
        return
    if is_dicom(source):
        nifti.write_new(target, volumes.read_stored(source), overwrite=True)
        return
    make_folder(target.parent)
    with suppress(OSError):
        target.unlink(missing_ok=True)
        os.link(os.path.realpath(source), target)
        return
    _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    with written_beside(target) as temporary, source.open("rb") as read, temporary.open("wb") as written:
        while block := read.read(_BLOCK):
            written.write(block)
