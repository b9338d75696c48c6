"""Two folders, one of images and one of labels, paired by name.

images/x.nii.gz                     labels/x.nii.gz                       a label map
images/x_0000.nii.gz, x_0001…       labels/x.nii.gz                       several channels, by number or by name
images/x.nii.gz                     labels/x_seg.nii.gz                   also _label, _labels, _mask, _gt
images/x.nii.gz                     labels/x_liver.nii.gz, x_spleen…      a mask file a structure
images/x.nii.gz                     labels/x/liver.nii.gz, spleen…        the same
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from segfocal.data.case import Case, CaseList
from segfocal.data.layouts.label_files import ENDING
from segfocal.data.layouts.layout import (
    Contents,
    Layout,
    Problem,
    by_structure,
    collected,
    masks_of,
    numbered,
    scans_in,
    structure_name,
)
from segfocal.errors import Fault, UserError
from segfocal.io.channels import FIRST
from segfocal.io.file_names import composed
from segfocal.io.passed_over import PassedOver, Reason, left_over, place_of
from segfocal.io.volumes import SUFFIXES, stem

_IMAGES = ("images", "image", "imgs", "scans", "volumes")
_LABELS = ("labels", "label", "masks", "mask", "segmentations", "segs")
_NUMBERED = re.compile(r"(.+)_(\d{4})")


def read(root: Path) -> Contents:
    """Read a folder that holds one of images and one of labels."""
    pair = _pair(root)
    assert pair is not None, root
    return read_pair(*pair)


def read_pair(images: Path, labels: Path) -> Contents:
    """Read a folder of images and one of labels; a missing label has the path where it should be.

    What else lies in them, and scans beside them, is passed over.
    """
    scans, label_files, problems = scans_in(images), scans_in(labels), list[Problem]()
    maps = _by_name(label_files, problems)
    folders = {composed(path.name): path for path in sorted(labels.glob("[!.]*")) if path.is_dir()}
    groups = _groups(scans, {*maps, *folders})
    masks = dict[str, dict[str, Path]]()
    for name in groups:
        if name not in maps:
            with collected(problems, case=name):
                masks[name] = _masks(name, groups, label_files, folders)
    values = numbered(structure for files in masks.values() for structure in files)
    cases = []
    for name, group in groups.items():
        files = masks.get(name)
        for image, more, channels in _channels(name, group):
            cases.append(
                Case(
                    name=name,
                    image=image,
                    more=more,
                    channels=channels,
                    label=maps.get(name) or (labels if files else labels / f"{name}{SUFFIXES[0]}"),
                    masks=masks_of(files, values) if files else None,
                )
            )
    passed = _passed_over(images, labels, cases)
    return Contents(
        found=CaseList(cases=tuple(cases), label_values=values, passed_over=passed), problems=tuple(problems)
    )


def _passed_over(images: Path, labels: Path, cases: Collection[Case]) -> tuple[PassedOver, ...]:
    """Return what lies in the folders of a data set, and scans beside them, and belongs to no case."""
    used = [path for case in cases for path in (*case.images, *case.label_files)]
    found = [*left_over(images.parent, used, Reason.OUTSIDE), *left_over(images, used, Reason.OUTSIDE)]
    for folder in sorted(path for path in images.glob("[!.]*") if path.is_dir()):
        found += [PassedOver(path=folder, reason=Reason.OUTSIDE)] if scans_in(folder) else []
    return (*found, *unused_labels(labels, cases))


def unused_labels(folder: Path, cases: Collection[Case]) -> Iterator[PassedOver]:
    """Yield the files of a folder of labels, and the folders of masks in it, that are no case's label."""
    used = [path for case in cases for path in case.label_files]
    names = {composed(case.name) for case in cases}
    for one in left_over(folder, used, Reason.LABEL_WITHOUT_IMAGE):
        second = one.reason is Reason.LABEL_WITHOUT_IMAGE and _belongs(composed(stem(one.path)), names)
        yield PassedOver(path=one.path, reason=Reason.SECOND_LABEL) if second else one
    folders_used = {place_of(path.parent) for path in used}
    for path in sorted(folder.glob("[!.]*")):
        if not path.is_dir() or not scans_in(path):
            continue
        if place_of(path) in folders_used:
            yield from left_over(path, used, Reason.SECOND_LABEL)
        else:
            second = composed(path.name) in names
            yield PassedOver(path=path, reason=Reason.SECOND_LABEL if second else Reason.LABEL_WITHOUT_IMAGE)


def _belongs(name: str, cases: Collection[str]) -> bool:
    """Return whether a label is called as a case, or as one with something after it."""
    return name in cases or any(name[: found.start()] in cases for found in re.finditer("[_-]", name))


def _by_name(labels: Iterable[Path], problems: list[Problem]) -> dict[str, Path]:
    """Return label files by what their image is called, where `x_seg` labels `x`; two of one name are a problem."""
    found: dict[str, Path] = {}
    for path in labels:
        other = found.setdefault(composed(stem(path)), path)
        if other != path:
            error = UserError(
                expected="one label a case",
                found=f"{other.name} and {path.name}",
                where=path.parent,
                do="keep the right one there",
                fault=Fault.NAME_TWICE,
            )
            problems.append(Problem(error=error, case=stem(path), file=path))
    for name, path in list(found.items()):
        found.setdefault(ENDING.sub("", name), path)
    return found


def _groups(images: Collection[Path], known: Collection[str]) -> dict[str, list[Path]]:
    """Return the image files of each case: those with the name of a label, or with it and a channel's besides."""
    stems = {composed(stem(image)) for image in images}
    counted = {found[1] for name in known if (found := _NUMBERED.fullmatch(name))}
    groups: dict[str, list[Path]] = {}
    for image in images:
        groups.setdefault(_case_of(composed(stem(image)), known, stems, counted), []).append(image)
    return groups


def _case_of(name: str, known: Collection[str], stems: Collection[str], counted: Collection[str]) -> str:
    """Return the case of an image.

    Args:
        name: of the image.
        known: names of labels.
        stems: names of images.
        counted: what labels are called that are numbered themselves: word, of word_0001. Such a number is no channel's.
    """
    if name in known:
        return name
    if found := _NUMBERED.fullmatch(name):
        if found[1] in known:
            return found[1]
        if found[1] in counted:
            return name
        if f"{found[1]}_{FIRST}" in stems:
            return found[1]
    shorter = [label for label in known if name.startswith((f"{label}_", f"{label}-"))]
    return max(shorter, key=len, default=name)


def _channels(name: str, scans: list[Path]) -> list[tuple[Path, tuple[Path, ...], tuple[str, ...]]]:
    """Return the first image with the further ones and what each is called.

    Each is by itself where two have one name, which is a mistake.
    """
    if len({composed(stem(path)) for path in scans}) < len(scans):
        return [(path, (), ()) for path in scans]
    called = tuple("" if composed(stem(path)) == name else structure_name(path, name) for path in scans)
    return [(scans[0], tuple(scans[1:]), called)]


def _masks(name: str, cases: Collection[str], labels: Collection[Path], folders: Mapping[str, Path]) -> dict[str, Path]:
    """Return the mask files of a case by structure: in a folder of its name, or named after it and the structure."""
    if name in folders:
        return by_structure(scans_in(folders[name]), name)
    longer = tuple(case for case in cases if case.startswith(name) and case != name)
    own = [
        path
        for path in labels
        if composed(stem(path)).startswith((f"{name}_", f"{name}-")) and not composed(stem(path)).startswith(longer)
    ]
    return by_structure(sorted(own), name)


def _pair(root: Path) -> tuple[Path, Path] | None:
    """Return the folder of images and that of labels; None unless there is one of each."""
    folders = {path.name.lower(): path for path in root.iterdir() if path.is_dir()} if root.is_dir() else {}
    images, labels = ([folders[name] for name in names if name in folders] for names in (_IMAGES, _LABELS))
    return (images[0], labels[0]) if len(images) == len(labels) == 1 else None


LAYOUT = Layout(
    description="a folder with images/ and labels/ (or masks/)", knows=lambda root: _pair(root) is not None, read=read
)
