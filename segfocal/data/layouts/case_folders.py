"""A folder a case, with its image and its label side by side.

    x/ct.nii.gz       x/segmentations/liver.nii.gz, spleen.nii.gz…     as TotalSegmentator's: a mask file a structure
    x/x_t1.nii.gz, x/x_t2.nii.gz    x/x_seg.nii.gz                     as BraTS's: several channels, a label map
    x/image.nii.gz    x/label.nii.gz

Channels come in the order of their names, which are the same in every case but for the case's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from segfocal.data.case import Case, CaseList
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
from segfocal.io.passed_over import PassedOver, Reason, left_over
from segfocal.io.volumes import is_named, stem
from segfocal.io.walk import walk

_FOLDERS = ("segmentations", "labels", "masks")
_LABEL = re.compile(r"(^|.*[_-])(seg|segmentation|label|labels|mask|gt)$", re.IGNORECASE)


def read(root: Path) -> Contents:
    """Read the folders of a folder that hold a case each: an image and one label. The others are passed over."""
    problems, passed = list[Problem](), left_over(root, (), Reason.OUTSIDE)
    labels, masks = dict[Path, Path](), dict[Path, dict[str, Path]]()
    for folder in sorted(folder for folder in root.glob("[!.]*") if folder.is_dir()):
        label = _label(folder)
        if isinstance(label, Path):
            labels[folder] = label
            with collected(problems, case=folder.name):
                masks |= {folder: by_structure(scans_in(label), folder.name)} if label.is_dir() else {}
        elif label is not None:
            passed.append(PassedOver(path=folder, reason=label))
        elif any(is_named(path) for path in walk(folder).files):
            passed.append(PassedOver(path=folder, reason=Reason.OUTSIDE))
        else:
            passed += left_over(folder, (), Reason.OUTSIDE)
    values = numbered(name for files in masks.values() for name in files)
    cases = [_case(folder, label, masks, values) for folder, label in labels.items()]
    passed += _beside(cases, labels)
    found = CaseList(cases=tuple(cases), label_values=values, passed_over=tuple(passed))
    return Contents(found=found, problems=tuple(problems))


def _case(folder: Path, label: Path, masks: Mapping[Path, Mapping[str, Path]], values: Mapping[str, int]) -> Case:
    images = _images(folder)
    return Case(
        name=folder.name,
        image=images[0],
        more=tuple(images[1:]),
        channels=tuple(structure_name(path, folder.name) for path in images),
        label=label,
        masks=masks_of(masks.get(folder, {}), values) if label.is_dir() else None,
    )


def _beside(cases: Iterable[Case], labels: Mapping[Path, Path]) -> list[PassedOver]:
    """Return what lies beside the files of each case."""
    used = [path for case in cases for path in (*case.images, *case.label_files)]
    folders = [place for folder, label in labels.items() for place in (folder, label)]
    return [one for folder in folders for one in left_over(folder, used, Reason.SECOND_LABEL)]


def _images(folder: Path) -> list[Path]:
    return [path for path in scans_in(folder) if not _LABEL.match(stem(path))]


def _label(folder: Path) -> Path | Reason | None:
    """Return the label map or the folder of masks in a case's folder, or why it is no case; None without any scan."""
    places = [folder / name for name in _FOLDERS if scans_in(folder / name)]
    places += [path for path in scans_in(folder) if _LABEL.match(stem(path))]
    if not _images(folder):
        return Reason.NO_IMAGE if places else None
    if len(places) != 1:
        return Reason.SEVERAL_LABELS if places else Reason.NO_LABEL
    return places[0]


def _knows(root: Path) -> bool:
    folders = (folder for folder in root.glob("[!.]*") if folder.is_dir()) if root.is_dir() else ()
    return any(isinstance(_label(folder), Path) for folder in folders)


LAYOUT = Layout(
    description="a folder a case with its image and segmentations/ or x_seg.nii.gz", knows=_knows, read=read
)
