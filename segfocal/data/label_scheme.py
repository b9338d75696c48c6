"""What a target means in a case's label, and labels made of mask files: the label map they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segfocal.data.case import Case, CaseList, Mask, Meaning
from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io import volumes
from segfocal.io.png import is_png
from segfocal.structure import Structure

OBJECTS = "objects"  # the target that means every mask, whatever its structure
INSIDE = 255  # the value of the only structure of a label made of PNG masks: that of the masks themselves


def choose_masks(
    cases: CaseList, structures: tuple[Structure, ...], *, apart: bool
) -> tuple[CaseList, tuple[Structure, ...]]:
    """Return the cases with labels that mean `structures`, and the structures with the values they then have.

    Of mask files a single structure, named or `objects`, has the value of those inside: 255 of PNG, 1 of NIfTI; several
    keep theirs. Where structures are unions or may overlap, label maps are read with the structures' values. apart: of
    the target `objects`, each mask is a target of its own that a prompt asks for: a held-out case becomes one for each
    of its masks, and a training case needs at least one.

    Raises:
        UserError: `objects` among other structures, a structure that is ignored too.
    """
    _check_ignored(cases, structures, apart=apart)
    if any(case.masks is not None for case in cases.cases):
        cases, structures = _with_masks(cases, structures, apart=apart)
    meaning = meaning_of(structures, cases.ignored)
    if meaning != Meaning():
        cases = replace(cases, cases=tuple(replace(case, meaning=meaning) for case in cases.cases))
    return cases, structures


def _check_ignored(cases: CaseList, structures: Sequence[Structure], *, apart: bool) -> None:
    if cases.ignored is None:
        return
    if apart:
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


def _with_masks(
    cases: CaseList, structures: tuple[Structure, ...], *, apart: bool
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
    if every and apart:
        chosen = tuple(part for case in chosen for part in _apart(case))
    return replace(cases, cases=chosen), structures


def meaning_of(structures: Sequence[Structure], ignored: int | None = None) -> Meaning:
    """Return what a data set's label values stand for: themselves, unless structures are unions or overlap."""
    if not any(structure.of for structure in structures):
        return Meaning(ignored=ignored)
    overlapping = any(structure.overlaps for structure in structures)
    changed: dict[int, int] = {}
    for structure in structures:
        for value in structure.label_values:
            changed[value] = changed.get(value, 0) | structure.value
    if ignored is not None:
        changed[ignored] = 1 << len(structures) if overlapping else len(structures) + 1
    return Meaning(
        changed=tuple(changed.items()),
        ignored=None if ignored is None else changed[ignored],
        overlapping=overlapping,
    )


def _with_values(case: Case, kept: dict[int, int], *, every: int | None) -> Case:
    if case.masks is None:
        return case
    if every is not None:
        return replace(case, masks=tuple(replace(mask, value=every) for mask in case.masks))
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
        volume = volumes.read_mask(mask.path)
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
    """Return the label map that a case's masks add up to, with the values it is read with.

    Where masks overlap, both count if structures may; otherwise the smaller object lies on top, and what is ignored
    above all.

    Raises:
        UserError: as `read_masks`.
    """
    masks, values = read_masks(case, image), [mask.value for mask in case.masks or ()]
    if case.meaning.overlapping:
        bits = dict(case.meaning.changed or ())
        labels = np.zeros(image.shape, dtype=np.uint16)
        for mask, value in zip(masks, values, strict=True):
            labels[mask.array] |= np.uint16(bits.get(value, 0))
        return Volume(array=labels, grid=image)
    labels = np.zeros(image.shape, dtype=np.uint8 if max(values, default=0) < 256 else np.uint16)
    for index in _largest_first(masks):
        labels[masks[index].array] = values[index]
    labels = case.meaning.read(labels)
    for mask, own in zip(masks, case.masks or (), strict=True):
        if case.meaning.ignored is not None and _stands_for(own, case.meaning) == case.meaning.ignored:
            labels[mask.array] = case.meaning.ignored
    return Volume(array=labels, grid=image)


def _stands_for(mask: Mask, meaning: Meaning) -> int:
    return mask.value if meaning.changed is None else dict(meaning.changed).get(mask.value, 0)


def _largest_first(masks: Sequence[Volume]) -> list[int]:
    return sorted(range(len(masks)), key=lambda index: -int(np.count_nonzero(masks[index].array)))
