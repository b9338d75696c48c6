"""Two folders, one of images and one of labels, paired by name.

images/x.nii.gz                     labels/x.nii.gz                       a label map
images/x_0000.nii.gz, x_0001…       labels/x.nii.gz                       several channels, by number or by name
images/x.nii.gz                     labels/x_seg.nii.gz                   also _label, _labels, _mask, _gt
images/x.nii.gz                     labels/x_liver.nii.gz, x_spleen…      a mask file a structure
images/x.nii.gz                     labels/x/liver.nii.gz, spleen…        the same
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from segfocal.data.case import Case, CaseList
from segfocal.data.layouts.layout import Contents, Layout, masks_of, numbered, scans_in, structure_name
from segfocal.io.volumes import SUFFIXES, stem

_IMAGES = ("images", "image", "imgs", "scans", "volumes")
_LABELS = ("labels", "label", "masks", "mask", "segmentations", "segs")
_ENDING = re.compile(r"[_-](seg|segmentation|label|labels|mask|gt)$", re.IGNORECASE)


def read(root: Path) -> Contents:
    """Read a folder that holds one of images and one of labels."""
    pair = _pair(root)
    assert pair is not None, root
    return read_pair(*pair)


def read_pair(images: Path, labels: Path) -> Contents:
    """Read a folder of images and one of labels; a missing label has the path where it should be."""
    maps = _by_name(scans_in(labels))
    folders = {path.name: path for path in sorted(labels.glob("[!.]*")) if path.is_dir()} if labels.is_dir() else {}
    groups = _groups(scans_in(images), {*maps, *folders})
    masks = {name: _masks(name, groups, maps, folders) for name in groups if name not in maps}
    values = numbered(structure for files in masks.values() for structure in files)
    cases = []
    for name, scans in groups.items():
        files = masks.get(name)
        for image, more in _channels(scans):
            cases.append(
                Case(
                    name=name,
                    image=image,
                    more=more,
                    label=maps.get(name) or (labels if files else labels / f"{name}{SUFFIXES[0]}"),
                    masks=masks_of(files, values) if files else None,
                )
            )
    return Contents(found=CaseList(cases=tuple(cases), label_values=values), unused_labels=unused_labels(labels, cases))


def unused_labels(folder: Path, cases: Iterable[Case]) -> tuple[Path, ...]:
    """Return the files of a folder of labels that are no case's label; none of a folder that no case uses."""
    used = {path.resolve() for case in cases for path in (case.label, *case.label_files)}
    unused = [path for path in scans_in(folder) if path.resolve() not in used]
    return tuple(unused) if len(unused) < len(scans_in(folder)) else ()


def _by_name(labels: Iterable[Path]) -> dict[str, Path]:
    """Return label files by what their image is called, where `x_seg` labels `x`."""
    found: dict[str, Path] = {}
    for path in sorted(labels, key=lambda path: [path.name.endswith(end) for end in SUFFIXES].index(True)):
        found.setdefault(stem(path), path)
    for name, path in list(found.items()):
        found.setdefault(_ENDING.sub("", name), path)
    return found


def _groups(images: Iterable[Path], known: Collection[str]) -> dict[str, list[Path]]:
    """Return the image files of each case: those with the name of a label, or with it and a channel's besides."""
    groups: dict[str, list[Path]] = {}
    for image in images:
        groups.setdefault(_case_of(image, known), []).append(image)
    return groups


def _case_of(image: Path, known: Collection[str]) -> str:
    name = stem(image)
    if name in known:
        return name
    if numbered := re.fullmatch(r"(.+)_(\d{4})", name):
        first = image.with_name(f"{numbered[1]}_0000{image.name.removeprefix(name)}")
        if numbered[1] in known or first.is_file():
            return numbered[1]
    shorter = [label for label in known if name.startswith((f"{label}_", f"{label}-"))]
    return max(shorter, key=len, default=name)


def _channels(scans: list[Path]) -> list[tuple[Path, tuple[Path, ...]]]:
    """Return the first image with the further ones; each by itself where two have one name, which is a mistake."""
    if len({stem(path) for path in scans}) < len(scans):
        return [(path, ()) for path in scans]
    return [(scans[0], tuple(scans[1:]))]


def _masks(name: str, cases: Collection[str], maps: dict[str, Path], folders: dict[str, Path]) -> dict[str, Path]:
    """Return the mask files of a case by structure: in a folder of its name, or named after it and the structure."""
    if name in folders:
        return {structure_name(path, name): path for path in scans_in(folders[name])}
    longer = [case for case in cases if case.startswith(name) and case != name]
    own = {
        path: stem(path)
        for path in maps.values()
        if stem(path).startswith((f"{name}_", f"{name}-")) and not stem(path).startswith(tuple(longer))
    }
    return {structure_name(path, name): path for path in sorted(own)} if own else {}


def _pair(root: Path) -> tuple[Path, Path] | None:
    """Return the folder of images and that of labels; None unless there is one of each."""
    folders = {path.name.lower(): path for path in root.iterdir() if path.is_dir()} if root.is_dir() else {}
    images, labels = ([folders[name] for name in names if name in folders] for names in (_IMAGES, _LABELS))
    return (images[0], labels[0]) if len(images) == len(labels) == 1 else None


LAYOUT = Layout(
    description="a folder with images/ and labels/ (or masks/)", knows=lambda root: _pair(root) is not None, read=read
)
