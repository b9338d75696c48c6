"""Labels made of mask files, one an object: which of them a target asks for, and the label map they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segfocal.data.case import Case, CaseList
from segfocal.data.label_scheme import INSIDE, OBJECTS, LabelScheme
from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io import volumes
from segfocal.io.png import is_png
from segfocal.structure import Structure


def with_target(
    cases: CaseList, structures: tuple[Structure, ...], *, by_object: bool
) -> tuple[CaseList, tuple[Structure, ...]]:
    """Return the cases with labels that mean `structures`, and the structures with the values they then have.

    Of mask files a single structure, named or `objects`, has the value of those inside: 255 of PNG, 1 of NIfTI; several
    keep theirs. by_object: of the target `objects`, each mask is a target of its own that a prompt asks for: a held-out
    case becomes one for each of its masks, and a training case needs at least one.

    Raises:
        UserError: `objects` among other structures, a structure that is ignored too.
    """
    _check_ignored(cases, structures, by_object=by_object)
    if any(case.masks is not None for case in cases.cases):
        cases, structures = _of_mask_files(cases, structures, by_object=by_object)
    scheme = LabelScheme(structures=structures, ignored=cases.ignored)
    return replace(cases, cases=tuple(replace(case, scheme=scheme) for case in cases.cases)), structures


def _check_ignored(cases: CaseList, structures: Sequence[Structure], *, by_object: bool) -> None:
    if cases.ignored is None:
        return
    if by_object:
        raise UserError(
            expected=f"data.ignore=null for target={OBJECTS}", found=str(cases.ignored), do="leave one of them out"
        )
    both = [structure.name for structure in structures if cases.ignored in structure.label_values]
    if both:
        raise UserError(
            expected="a structure to segment or to ignore",
            found=f"both of {both[0]}",
            do="change target or data.ignore",
        )


def _of_mask_files(
    cases: CaseList, structures: tuple[Structure, ...], *, by_object: bool
) -> tuple[CaseList, tuple[Structure, ...]]:
    names = [structure.name for structure in structures]
    if OBJECTS in names and len(names) > 1:
        raise UserError(
            expected=f"target={OBJECTS} alone", found=f"target={names}", do="name structures, or take every object"
        )
    every = names == [OBJECTS]
    kept = {value: value for structure in structures for value in structure.label_values}
    if cases.ignored is not None:
        kept[cases.ignored] = cases.ignored
    if len(names) == 1:
        files = [mask.path for case in cases.cases for mask in case.masks or ()]
        inside = INSIDE if not files or is_png(files[0]) else 1
        kept |= dict.fromkeys(structures[0].label_values, inside)
        structures = (replace(structures[0], value=inside, of=()),)
        if cases.ignored is not None:
            kept[cases.ignored] = inside - 1 or 2
            cases = replace(cases, ignored=kept[cases.ignored])
    chosen = tuple(_with_values(case, kept, every=structures[0].value if every else None) for case in cases.cases)
    if every and by_object:
        chosen = tuple(part for case in chosen for part in _object_by_object(case))
    return replace(cases, cases=chosen), structures


def _with_values(case: Case, kept: dict[int, int], *, every: int | None) -> Case:
    if case.masks is None:
        return case
    values = [kept.get(mask.value) if every is None else every for mask in case.masks]
    pairs = zip(case.masks, values, strict=True)
    return replace(case, masks=tuple(replace(mask, value=value) for mask, value in pairs if value is not None))


def _object_by_object(case: Case) -> list[Case]:
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
        volume = on_image(case, image, volumes.read_mask(mask.path), mask.path)
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
    """Raise UserError unless a label lies on the grid of its image, whichever way its axes run.

    Args:
        case: whose image and label they are.
        image: the grid of the image.
        label: the grid of the label.
        path: the file of the label, to be named.
    """
    if label.turn_to(image) is None:
        raise UserError(
            expected=f"a label map on the grid of its image {case.image.name}",
            found=volumes.difference(image, label),
            where=str(path),
            do="resample the label onto the image, or pair the right files",
        )


def on_image(case: Case, image: Grid, label: Volume, path: Path) -> Volume:
    """Return a label on exactly the grid of its image, turned where its axes run another way.

    Args:
        case: whose image and label they are.
        image: the grid of the image.
        label: the label.
        path: its file, to be named.

    Raises:
        UserError: as `check_size`.
    """
    check_size(case, image, label.grid, path)
    return volumes.laid(label, image, path)


def label_map(case: Case, image: Grid) -> Volume:
    """Return the label map that a case's masks add up to, with the values it is read with.

    Where masks overlap, both count if structures may; otherwise the smaller object lies on top, and what is ignored
    above all.

    Raises:
        UserError: as `read_masks`.
    """
    masks, values = read_masks(case, image), [mask.value for mask in case.masks or ()]
    read = [case.scheme.value_read(value) for value in values]
    if case.scheme.overlapping:
        labels = np.zeros(image.shape, dtype=np.uint16)
        for mask, bits in zip(masks, read, strict=True):
            labels[mask.array] |= np.uint16(bits)
        return Volume(array=labels, grid=image)
    labels = np.zeros(image.shape, dtype=np.uint8 if max(values, default=0) < 256 else np.uint16)
    for mask, value in sorted(zip(masks, values, strict=True), key=lambda pair: -np.count_nonzero(pair[0].array)):
        labels[mask.array] = value
    labels = case.scheme.read(labels)
    for mask, value in zip(masks, read, strict=True):
        if value == case.scheme.ignored_read:
            labels[mask.array] = value
    return Volume(array=labels, grid=image)
