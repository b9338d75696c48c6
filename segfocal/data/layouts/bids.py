"""BIDS derivatives: segmentations named by entities, and the images they belong to.

    derivatives/seg/sub-01/anat/sub-01_dseg.nii.gz                      a label map; names in a dseg.tsv (index, name)
    derivatives/seg/sub-01/anat/sub-01_label-liver_mask.nii.gz          a mask a structure; also desc-, and _probseg
    sub-01/anat/sub-01_T1w.nii.gz                                       the image: beside it, or in the raw data set

An image belongs to a segmentation with its entities (sub, ses, run, acq, …) but for desc, label, space, res and seg;
of an image and a segmentation that both name a space, it is the same. Images of several suffixes (T1w, T2w) are the
channels of a case, in the order of their names; those beside the segmentation go before those of the raw data set, and
images without desc- before others. With a dseg, masks of the same case are left alone. A case's group is its subject.
Source: Brain Imaging Data Structure 1.10, "Derivatives: Imaging".
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from segfocal.data.case import Case, CaseList
from segfocal.data.layouts.layout import Contents, Layout, Problem, collected, masks_of, numbered
from segfocal.errors import UserError
from segfocal.io.file_names import composed
from segfocal.io.nifti import is_nifti
from segfocal.io.passed_over import PassedOver, Reason, place_of
from segfocal.io.volumes import stem
from segfocal.io.walk import walk

_LABELS = ("dseg", "mask", "probseg")
_OWN = {"desc", "label", "space", "res", "seg", "den", "hemi"}  # entities that a segmentation need not share
_RAW_SPACES = ("", "orig", "T1w")


@dataclass(frozen=True)
class _BidsFile:
    """A file, its entities and its suffix: sub-01_desc-x_dseg.nii.gz is {sub: 01, desc: x} and dseg."""

    path: Path
    entities: dict[str, str]
    suffix: str

    @property
    def shared(self) -> tuple[tuple[str, str], ...]:
        return tuple((key, value) for key, value in self.entities.items() if key not in _OWN)

    @property
    def space(self) -> str:
        space = self.entities.get("space", "")
        return "" if space in _RAW_SPACES else space

    @property
    def structure(self) -> str:
        """What a mask is of: its label, else what it describes."""
        return self.entities.get("label") or self.entities.get("desc") or self.suffix


class _CaseKey(NamedTuple):
    """What two segmentations of one case have in common: the shared entities, and the space."""

    shared: tuple[tuple[str, str], ...]
    space: str

    def name(self, *, with_space: bool) -> str:
        entities = [*self.shared, ("space", self.space)] if with_space and self.space else self.shared
        return "_".join(f"{key}-{value}" for key, value in entities)


def read(root: Path) -> Contents:
    """Read the segmentations below a folder, with their images there or in the raw data set around it.

    A segmentation without an image or with several alike, two label maps of a case, label maps beside masks, and a
    damaged dseg.tsv are problems.
    """
    files = _bids_files(root)
    images = [file for file in files if file.suffix not in _LABELS]
    raw = _raw(root)
    images += [] if raw is None else [file for file in _bids_files(raw) if file.suffix not in _LABELS]
    problems: list[Problem] = []
    labels = _labels(files, problems)
    values = _label_values(root, labels, problems)
    with_space = len({key.space for key in labels}) > 1
    cases = []
    for key, group in sorted(labels.items()):
        name = key.name(with_space=with_space)
        with collected(problems, case=name):
            chosen = _images(group[0], images)
            is_map = group[0].suffix == "dseg"
            cases.append(
                Case(
                    name=name,
                    image=chosen[0].path,
                    more=tuple(image.path for image in chosen[1:]),
                    channels=tuple(image.suffix for image in chosen),
                    label=group[0].path,
                    masks=None if is_map else masks_of({file.structure: file.path for file in group}, values),
                    group=f"sub-{dict(key.shared).get('sub', '')}",
                )
            )
    passed = _passed_over(files, cases)
    found = CaseList(cases=tuple(cases), label_values=values, passed_over=passed)
    return Contents(found=found, problems=tuple(problems))


def _passed_over(files: Sequence[_BidsFile], cases: Iterable[Case]) -> tuple[PassedOver, ...]:
    """Return the files below the folder that belong to no case: masks beside a dseg, images without a segmentation.

    Those of a subject whose segmentation is a problem are told with it.
    """
    used = {place_of(path) for case in cases for path in (*case.images, *case.label_files)}
    labels = [file for file in files if file.suffix in _LABELS]
    refused = {file.shared for file in labels} - {file.shared for file in labels if place_of(file.path) in used}
    left = [file for file in files if place_of(file.path) not in used and file.shared not in refused]
    reasons = {True: Reason.SECOND_LABEL, False: Reason.IMAGE_WITHOUT_LABEL}
    return tuple(PassedOver(path=file.path, reason=reasons[file.suffix in _LABELS]) for file in left)


def _labels(files: Iterable[_BidsFile], problems: list[Problem]) -> dict[_CaseKey, list[_BidsFile]]:
    """Return the label map or the masks of each case."""
    groups: dict[_CaseKey, list[_BidsFile]] = {}
    for file in files:
        if file.suffix in _LABELS:
            groups.setdefault(_CaseKey(file.shared, file.space), []).append(file)
    labels = {}
    for key, group in groups.items():
        with collected(problems, case=key.name(with_space=False)):
            labels[key] = _label_files(group)
    return labels


def _label_values(
    root: Path, labels: Mapping[_CaseKey, Sequence[_BidsFile]], problems: list[Problem]
) -> dict[str, int]:
    """Return label values by name: of label maps as a dseg.tsv says, of masks numbered."""
    maps = [group[0] for group in labels.values() if group[0].suffix == "dseg"]
    if maps and len(maps) == len(labels):
        with collected(problems):
            return _names(root, maps[0].path)
        return {}
    if maps:
        error = UserError(
            expected="a dseg of every case, or masks of every case",
            found="both",
            where=maps[0].path,
            do="set data.root to one of the derivatives",
        )
        problems.append(Problem(error=error))
    masks = (file for group in labels.values() if group[0].suffix != "dseg" for file in group)
    return numbered(file.structure for file in masks)


def _bids_files(root: Path) -> list[_BidsFile]:
    """Return the NIfTI files of subjects below a folder, one for each path."""
    found = []
    for path in walk(root).files:
        if path.name.startswith("sub-") and is_nifti(path) and path.is_file():
            *pairs, suffix = composed(stem(path)).split("_")
            entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
            found.append(_BidsFile(path, entities, suffix))
    return found


def _raw(root: Path) -> Path | None:
    """Return the raw data set that a folder of derivatives lies in."""
    return next((folder.parent for folder in root.resolve().parents if folder.name == "derivatives"), None)


def _label_files(group: Sequence[_BidsFile]) -> list[_BidsFile]:
    """Return the label map of a case, or its masks."""
    maps = [file for file in group if file.suffix == "dseg"]
    chosen = maps or list(group)
    names = [file.structure for file in chosen]
    if len(maps) > 1 or len(set(names)) < len(names):
        raise UserError(
            expected="one dseg a case, or masks with a label- of their own",
            found=f"{chosen[0].path.name} and {chosen[1].path.name}",
            where=chosen[0].path.parent,
            do="set data.root to one of the derivatives, or list the files in a CSV",
        )
    return chosen


def _images(label: _BidsFile, images: Iterable[_BidsFile]) -> list[_BidsFile]:
    """Return the images of a segmentation, a channel a suffix."""
    fitting = [image for image in images if image.shared == label.shared and image.space == label.space]
    beside = [image for image in fitting if image.path.parent == label.path.parent]
    unique = list({image.path.resolve(): image for image in beside or fitting}.values())
    by_suffix: dict[str, list[_BidsFile]] = {}
    for image in unique:
        by_suffix.setdefault(image.suffix, []).append(image)
    channels = []
    for suffix, several in sorted(by_suffix.items()):
        plain = [image for image in several if "desc" not in image.entities] or several
        if len(plain) > 1:
            raise UserError(
                expected=f"one image {suffix} for {label.path.name}",
                found=" and ".join(image.path.name for image in plain[:2]),
                where=label.path.parent,
                do="list the files in a CSV of image,label",
            )
        channels.append(plain[0])
    if not channels:
        shared = "_".join(f"{key}-{value}" for key, value in label.shared)
        raise UserError(
            expected=f"an image {shared}_… for {label.path.name}",
            found="none beside it or in the raw data set",
            where=label.path,
            do="set data.root to a derivative inside its data set's derivatives/, or list the files in a CSV",
        )
    return channels


def _names(root: Path, label_map: Path) -> dict[str, int]:
    """Return label values by name from the dseg.tsv beside a label map, or in a folder above it."""
    folders = [folder for folder in (label_map.parent, *label_map.parent.parents) if folder.is_relative_to(root)]
    tables = [label_map.with_name(f"{stem(label_map)}.tsv")]
    tables += [table for folder in folders for table in sorted(folder.glob("*dseg.tsv")) if table not in tables]
    table = next((table for table in tables if table.is_file()), None)
    if table is None:
        return {}
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    try:
        return {row["name"]: int(row["index"]) for row in rows if int(row["index"]) != 0}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            expected="columns index and name, separated by tabs",
            found=f"{type(error).__name__}: {error}",
            where=table,
            do="mend the file",
        ) from error


def _knows(root: Path) -> bool:
    """Return whether segmentations of subjects lie below a folder of subjects or of BIDS."""
    if not root.is_dir() or not ((root / "dataset_description.json").is_file() or any(root.glob("sub-*/"))):
        return False
    return any(file.suffix in _LABELS for file in _bids_files(root))


LAYOUT = Layout(description="BIDS derivatives with sub-…_dseg.nii.gz or _mask.nii.gz", knows=_knows, read=read)
