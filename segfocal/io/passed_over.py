"""What a folder holds and nobody read: each file or folder passed over, with the reason, and the lines that say so."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from segfocal.io.png import is_png
from segfocal.io.volumes import is_named

_NAMED = 3  # names in a line
_KEPT = 20  # names in a record
_OTHER_FORMATS = (  # images by their names, of formats that are not read
    *(".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".mgh", ".mgz", ".mnc", ".nii.bz2", ".nii.xz", ".nii.zst"),
    *(".nii.zip", ".npy", ".npz", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
)
_PICTURES = (".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".png")


class Reason(Enum):
    """Why something was passed over; the value is its name in records."""

    LABEL_WITHOUT_IMAGE = "label_without_image"
    IMAGE_WITHOUT_LABEL = "image_without_label"
    SECOND_LABEL = "second_label"
    NO_LABEL = "no_label"
    NO_IMAGE = "no_image"
    SEVERAL_LABELS = "several_labels"
    NOT_LISTED = "not_listed"
    OUTSIDE = "outside"
    PREVIEW = "preview"
    OTHER_FORMAT = "other_format"
    LINK_AGAIN = "link_again"
    NO_REFERENCE = "no_reference"

    def words(self, count: int) -> str:
        """Return what so many of them are called."""
        one, many = _WORDS[self]
        return f"{count} {one if count == 1 else many}"


_WORDS = {
    Reason.LABEL_WITHOUT_IMAGE: ("label that no image belongs to", "labels that no image belongs to"),
    Reason.IMAGE_WITHOUT_LABEL: ("image that no label belongs to", "images that no label belongs to"),
    Reason.SECOND_LABEL: ("label of a case that has another", "labels of cases that have another"),
    Reason.NO_LABEL: ("folder with an image and no label", "folders with images and no label"),
    Reason.NO_IMAGE: ("folder with a label and no image", "folders with labels and no image"),
    Reason.SEVERAL_LABELS: ("folder with several labels", "folders with several labels"),
    Reason.NOT_LISTED: ("scan that the list does not name", "scans that the list does not name"),
    Reason.OUTSIDE: ("scan outside of where cases are looked for", "scans outside of where cases are looked for"),
    Reason.PREVIEW: ("picture beside scans", "pictures beside scans"),
    Reason.OTHER_FORMAT: ("file of a format that is not read", "files of formats that are not read"),
    Reason.LINK_AGAIN: ("link to a folder that is read already", "links to folders that are read already"),
    Reason.NO_REFERENCE: ("prediction without a reference", "predictions without a reference"),
}


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """A file or folder that nobody read, and why."""

    path: Path
    reason: Reason


def lines(passed: Sequence[PassedOver], root: Path) -> list[str]:
    """Return a line a reason: how many, and the first names, below `root` where they lie there."""
    told = []
    for reason, paths in _by_reason(passed).items():
        named = ", ".join(_shown(path, root) for path in paths[:_NAMED]) + " …" * (len(paths) > _NAMED)
        told.append(f"passed over: {reason.words(len(paths))}: {named}")
    return told


def rows(passed: Sequence[PassedOver], root: Path) -> list[dict[str, Any]]:
    """Return a row a reason for a record: reason, count and the first 20 names."""
    return [
        {"reason": reason.value, "count": len(paths), "first": [_shown(path, root) for path in paths[:_KEPT]]}
        for reason, paths in _by_reason(passed).items()
    ]


def left_over(folder: Path, used: Iterable[Path], reason: Reason) -> list[PassedOver]:
    """Return the scans, pictures and files of other image formats that lie in a folder and were not used.

    Args:
        folder: a folder, or none; hidden names are no data.
        used: the files of the cases, wherever they lie.
        reason: of scans; pictures beside them and other formats have their own.
    """
    if not folder.is_dir():
        return []
    here = os.path.realpath(folder)
    taken = {place for path in used if (place := place_of(path)).startswith(here)}
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())
    scans = [path for path in files if is_named(path)]
    beside_scans = any(not is_png(path) for path in scans)
    found = []
    for path in files:
        picture = path.name.lower().endswith(_PICTURES)
        if place_of(path) in taken or not (is_named(path) or path.name.lower().endswith(_OTHER_FORMATS)):
            continue
        if picture and beside_scans:
            found.append(PassedOver(path=path, reason=Reason.PREVIEW))
        else:
            found.append(PassedOver(path=path, reason=reason if is_named(path) else Reason.OTHER_FORMAT))
    return found


def place_of(path: Path) -> str:
    """Return where a path lies, whatever way leads to its folder; a link stands for itself."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def _by_reason(passed: Sequence[PassedOver]) -> dict[Reason, list[Path]]:
    groups: dict[Reason, list[Path]] = {}
    for one in passed:
        groups.setdefault(one.reason, []).append(one.path)
    return {reason: groups[reason] for reason in Reason if reason in groups}


def _shown(path: Path, root: Path) -> str:
    """Return a path below the root as a line may hold it: what a terminal would obey is spelt out."""
    short = path.relative_to(root) if path.is_relative_to(root) else path
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(short))
