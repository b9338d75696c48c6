"""What a source is, and how files are told from each other by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from segfocal.data.case import CaseList, Mask
from segfocal.io.png import is_png
from segfocal.io.volumes import SUFFIXES, stem


@dataclass(frozen=True, kw_only=True)
class Source:
    """A layout of labelled scans.

    layout: in words, for the message that lists what can be read. knows: whether a file or folder is laid out so.
    read: its cases, with label values where names are known. `read_cases` checks them.
    """

    layout: str
    knows: Callable[[Path], bool]
    read: Callable[[Path], CaseList]


def scans_in(folder: Path) -> list[Path]:
    """Return the scans of a folder by name, or where there is none the pictures: beside scans they are previews."""
    files = sorted(path for path in folder.glob("[!.]*") if path.name.endswith(SUFFIXES))
    return [path for path in files if not is_png(path)] or files


def numbered(names: Iterable[str]) -> dict[str, int]:
    """Return label values for structures that have a file each: 1, 2, … in the order of their names."""
    return {name: value for value, name in enumerate(sorted(set(names)), start=1)}


def masks_of(files: Mapping[str, Path], values: Mapping[str, int]) -> tuple[Mask, ...]:
    """Return mask files by structure name as masks."""
    return tuple(Mask(path=path, value=values[name]) for name, path in files.items())


def structure_name(mask: Path, *cases: str) -> str:
    """Return the structure that a mask file is named after: liver of liver.nii.gz and of x_liver.nii.gz of case x."""
    name = stem(mask)
    for case in sorted(cases, key=len, reverse=True):
        rest = name.removeprefix(case).strip("_-. ")
        if name.startswith(case) and rest:
            return rest
    return name
