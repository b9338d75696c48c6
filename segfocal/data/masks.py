"""Labels made of mask files, one an object: which of them a target means, and the label map they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segfocal.batch import Structure
from segfocal.data.case import Case, CaseList
from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io import volumes

OBJECTS = "objects"  # the target that means every mask, whatever its structure
INSIDE = 255  # the value of the only structure of a label made of masks: that of the masks themselves


def choose_masks(
    cases: CaseList, structures: tuple[Structure, ...], *, apart: bool
) -> tuple[CaseList, tuple[Structure, ...]]:
    """Return the cases with only the masks of `structures`, and the structures with the values they then have.

    A single structure, named or `objects`, has the value 255 of mask files; several keep theirs. Cases with a label
    map stay as they are. apart: of the target `objects`, each mask is a target of its own that a prompt asks for: a
    held-out case becomes one for each of its masks, and a training case needs at least one.

    Raises:
        UserError: `objects` among other structures.
    """
    if all(case.masks is None for case in cases.cases):
        return cases, structures
    names = [structure.name for structure in structures]
    if OBJECTS in names and len(names) > 1:
        raise UserError(
            expected=f"target={OBJECTS} alone", found=f"target={names}", do="name structures, or take every object"
        )
    every = names == [OBJECTS]
    kept = {structure.value: INSIDE if len(names) == 1 else structure.value for structure in structures}
    chosen = tuple(_with_values(case, kept, every=every) for case in cases.cases)
    if every and apart:
        chosen = tuple(part for case in chosen for part in _apart(case))
    structures = tuple(replace(structure, value=kept[structure.value]) for structure in structures)
    return replace(cases, cases=chosen), structures


def _with_values(case: Case, kept: dict[int, int], *, every: bool) -> Case:
    if case.masks is None:
        return case
    if every:
        return replace(case, masks=tuple(replace(mask, value=INSIDE) for mask in case.masks))
    masks = tuple(replace(mask, value=kept[mask.value]) for mask in case.masks if mask.value in kept)
    return replace(case, masks=masks)


def _apart(case: Case) -> list[Case]:
    if case.masks is None:
        return [case]
    if case.split == "train":
        return [case] if case.masks else []
    return [replace(case, name=mask.path.stem, masks=(mask,)) for mask in case.masks]


def read_masks(case: Case, image: Grid) -> list[Volume]:
    """Read a case's masks on the grid of its image, True inside.

    Raises:
        UserError: an unreadable file, one of another size, or of more than one value besides 0.
    """
    masks = []
    for mask in case.masks or ():
        volume = volumes.read_labels(mask.path)
        check_size(case, image, volume.grid, mask.path)
        values = volume.array[volume.array != 0]
        if (values != values[:1]).any():
            raise UserError(
                expected="a mask of one object, 0 and 255",
                found=f"{len(np.unique(values))} values besides 0, such as {np.unique(values)[:2].tolist()}",
                where=mask.path,
                do="save one file an object, without smoothing or lossy compression",
            )
        masks.append(Volume(array=volume.array > 0, grid=image))
    return masks


def check_size(case: Case, image: Grid, label: Grid, path: object) -> None:
    """Raise UserError unless a label, read from `path`, lies on the grid of its image."""
    difference = image.difference(label)
    if difference:
        raise UserError(
            expected=f"a label map on the grid of its image {case.image.name}",
            found=difference,
            where=str(path),
            do="resample the label onto the image, or pair the right files",
        )


def label_map(case: Case, image: Grid) -> Volume:
    """Return the label map that a case's masks add up to; where they overlap, the smaller object lies on top.

    Raises:
        UserError: as `read_masks`.
    """
    masks, values = read_masks(case, image), [mask.value for mask in case.masks or ()]
    labels = np.zeros(image.shape, dtype=np.uint8 if max(values, default=0) < 256 else np.uint16)
    for index in _largest_first(masks):
        labels[masks[index].array] = values[index]
    return Volume(array=labels, grid=image)


def _largest_first(masks: Sequence[Volume]) -> list[int]:
    return sorted(range(len(masks)), key=lambda index: -int(np.count_nonzero(masks[index].array)))
