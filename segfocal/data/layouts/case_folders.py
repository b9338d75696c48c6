"""A folder a case, with its image and its label side by side.

    x/ct.nii.gz       x/segmentations/liver.nii.gz, spleen.nii.gz…     as TotalSegmentator's: a mask file a structure
    x/x_t1.nii.gz, x/x_t2.nii.gz    x/x_seg.nii.gz                     as BraTS's: several channels, a label map
    x/image.nii.gz    x/label.nii.gz

Channels come in the order of their names, which are the same in every case but for the case's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from segfocal.data.case import Case, CaseList
from segfocal.data.layouts.layout import Contents, Layout, Problem, masks_of, numbered, scans_in, structure_name
from segfocal.errors import UserError
from segfocal.io.volumes import stem

_FOLDERS = ("segmentations", "labels", "masks")
_LABEL = re.compile(r"(^|.*[_-])(seg|segmentation|label|labels|mask|gt)$", re.IGNORECASE)


def read(root: Path) -> Contents:
    """Read the folders of a folder that hold a case each; images of other names than most cases' are a problem."""
    folders = sorted(folder for folder in root.glob("[!.]*") if folder.is_dir())
    labels = {folder: label for folder in folders if (label := _label(folder)) is not None}
    masks = {
        folder: {structure_name(path, folder.name): path for path in scans_in(label)}
        for folder, label in labels.items()
        if label.is_dir()
    }
    values = numbered(name for files in masks.values() for name in files)
    cases = []
    for folder, label in labels.items():
        first, *more = _images(folder)
        own = masks_of(masks[folder], values) if folder in masks else None
        cases.append(Case(name=folder.name, image=first, more=tuple(more), label=label, masks=own))
    return Contents(found=CaseList(cases=tuple(cases), label_values=values), problems=tuple(_odd_channels(labels)))


def _images(folder: Path) -> list[Path]:
    return [path for path in scans_in(folder) if not _LABEL.match(stem(path))]


def _label(folder: Path) -> Path | None:
    """Return the label map or the folder of masks in a case's folder; None unless it has one of them and an image."""
    if not _images(folder):
        return None
    places = [folder / name for name in _FOLDERS if (folder / name).is_dir()]
    places += [path for path in scans_in(folder) if _LABEL.match(stem(path))]
    return places[0] if len(places) == 1 else None


def _odd_channels(folders: Iterable[Path]) -> Iterator[Problem]:
    """Yield a problem for each case whose images have not the names of most cases' images."""
    names = {folder: tuple(structure_name(path, folder.name) for path in _images(folder)) for folder in folders}
    if not names:
        return
    usual = Counter(names.values()).most_common(1)[0][0]
    for folder, own in names.items():
        if own != usual and len(usual) > 1:
            error = UserError(
                expected=f"the images {', '.join(usual)} of every case",
                found=", ".join(own),
                where=folder,
                do="add the missing files or take the folder away",
            )
            yield Problem(error=error, case=folder.name)


def _knows(root: Path) -> bool:
    return root.is_dir() and any(folder.is_dir() and _label(folder) is not None for folder in root.glob("[!.]*"))


LAYOUT = Layout(
    description="a folder a case with its image and segmentations/ or x_seg.nii.gz", knows=_knows, read=read
)
