"""What a layout is, what reading one yields, and what the names of its files mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from segfocal.data.case import CaseList, Mask
from segfocal.errors import UserError
from segfocal.io.file_names import composed
from segfocal.io.png import is_png
from segfocal.io.volumes import is_named, stem


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Something wrong with a data set. Training stops at the first one, the doctor lists all.

    Args:
        error: what is wrong, as training says it.
        case: the name of the case that has it, "" where it is not one case's.
        file: the file that has it, None where that is the data set's own.
    """

    error: UserError
    case: str = ""
    file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What was read of a data set: the cases that can be made out, and what is wrong with the others.

    Args:
        found: the cases, with label values by name where the layout knows them. A file that is listed but missing
            belongs to its case all the same.
        problems: what is wrong, in the order in which it was met; none if training may use the cases.
        channels: those that the data set says every case has, by name; () where it does not say.
        region_values: label values of dataset.json that only regions (lists of values) hold, as {"whole, 3": 3}.
        modality: "ct" or "other" where dataset.json says so, "" where nothing does.
    """

    found: CaseList
    problems: tuple[Problem, ...] = ()
    channels: tuple[str, ...] = ()
    region_values: Mapping[str, int] = field(default_factory=dict)
    modality: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way to lay out labelled scans.

    Args:
        description: in words, for the message that lists what can be read.
        knows: whether a file or folder is laid out so.
        read: its contents; it raises UserError where no case can be made out.
    """

    description: str
    knows: Callable[[Path], bool]
    read: Callable[[Path], Contents]


@contextmanager
def collected(problems: list[Problem], *, case: str = "") -> Iterator[None]:
    """Add a UserError to the problems in place of raising it; what is left of the block is skipped."""
    try:
        yield
    except UserError as error:
        problems.append(Problem(error=error, case=case))


def no_cases(root: Path) -> Problem:
    """Return the problem of a data set that lists no case."""
    error = UserError(expected="at least one case", found="none", where=root, do="add .nii.gz or .png files")
    return Problem(error=error)


def scans_in(folder: Path) -> list[Path]:
    """Return the scans of a folder by name, or where there is none the pictures: beside scans they are previews."""
    files = sorted((path for path in folder.glob("[!.]*") if is_named(path)), key=lambda path: composed(path.name))
    return [path for path in files if not is_png(path)] or files


def numbered(names: Iterable[str]) -> dict[str, int]:
    """Return label values for structures that have a file each: 1, 2, … in the order of their names."""
    return {name: value for value, name in enumerate(sorted(set(names)), start=1)}


def masks_of(files: Mapping[str, Path], values: Mapping[str, int]) -> tuple[Mask, ...]:
    """Return mask files by structure name as masks."""
    return tuple(Mask(path=path, value=values[name]) for name, path in files.items())


def by_structure(masks: Iterable[Path], *cases: str) -> dict[str, Path]:
    """Return mask files by structure, as `structure_name` reads it; UserError where two are of one structure."""
    found: dict[str, Path] = {}
    for mask in masks:
        other = found.setdefault(structure_name(mask, *cases), mask)
        if other != mask:
            raise UserError(
                expected="a mask file a structure",
                found=f"{other.name} and {mask.name}",
                where=mask.parent,
                do="keep one of them there, or name the structures in a JSONL",
            )
    return found


def structure_name(mask: Path, *cases: str) -> str:
    """Return the structure that a mask file is named after: liver of liver.nii.gz and of x_liver.nii.gz of case x."""
    name = composed(stem(mask))
    for case in sorted(map(composed, cases), key=len, reverse=True):
        rest = name.removeprefix(case).strip("_-. ")
        if name.startswith(case) and rest:
            return rest
    return name
