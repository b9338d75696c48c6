"""The cases that a dataset.json lists: "training" of MSD and nnU-Net 1, the table "dataset" of nnU-Net 2."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from segfocal.data.case import Case
from segfocal.data.layouts.layout import Problem, collected, scans_in
from segfocal.errors import UserError
from segfocal.io.file_names import composed, listed_file
from segfocal.io.volumes import stem

FILE = "dataset.json"
_NUMBERED = re.compile(r"(.+)_(\d{4})")
_Numbered = Callable[[Path, str], Mapping[str, Mapping[str, Sequence[Path]]]]


def listed_cases(root: Path, described: Mapping[str, Any], problems: list[Problem]) -> tuple[Case, ...]:
    """Return the cases that a dataset.json lists, one way or the other; rows of another form are problems."""
    cases, files = list[Case](), cache(_numbered_in)
    listed, table = described.get("training"), described.get("dataset")
    rows = listed if isinstance(listed, list) else []
    own = {stem(Path(row["image"])) for row in rows if isinstance(row, dict) and isinstance(row.get("image"), str)}
    for row in rows:
        with collected(problems), expected_form(root):
            cases.append(_of_training(root, row, own, files))
    for name, row in table.items() if isinstance(table, dict) else ():
        with collected(problems, case=str(name)), expected_form(root):
            cases.append(_of_table(root, str(name), row))
    return tuple(cases)


@contextmanager
def expected_form(root: Path) -> Iterator[None]:
    """Turn every way in which JSON of another form fails into one message."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            expected='"labels" as names and values, "training" as a list of {"image", "label"}, '
            '"dataset" as {name: {"images", "label"}}',
            found=f"{type(error).__name__}: {str(error)[:80]}",
            where=root / FILE,
            do="mend the file",
        ) from error


def _of_training(root: Path, row: Mapping[str, str], listed: set[str], files: _Numbered) -> Case:
    """Return a case of "training".

    nnU-Net v1 lists images without the _0000 that their files carry, others name the file of the first channel. Either
    way the files of further numbers belong to the case, unless they are listed themselves.
    """
    image = listed_file(root, row["image"], where=root / FILE)
    label = listed_file(root, row["label"], where=root / FILE)
    own = name = stem(image)
    numbered = _NUMBERED.fullmatch(own)
    base = numbered[1] if numbered and composed(stem(label)) == composed(numbered[1]) else own
    channels = files(image.parent, image.name[len(own) :].lower()).get(composed(base), {})
    beside = sorted(number for number in channels if f"{base}_{number}" not in listed - {own})
    if image.is_file() == (base == own) or not beside:  # the image itself, or one that is not there
        return Case(name=name, image=image, label=label, channels=(numbered[2] if numbered and base != own else "",))
    first, *more = (_only(channels[number]) for number in beside)
    name = base if more else name
    return Case(name=name, image=first, more=tuple(more), label=label, channels=tuple(beside))


def _numbered_in(folder: Path, ending: str) -> dict[str, dict[str, list[Path]]]:
    """Return the scans of a folder with an ending by what stands before their channel's number, and by the number."""
    found: dict[str, dict[str, list[Path]]] = {}
    for path in scans_in(folder):
        name = _NUMBERED.fullmatch(composed(stem(path)))
        if name and path.name.lower().endswith(ending):
            found.setdefault(name[1], {}).setdefault(name[2], []).append(path)
    return found


def _only(files: Sequence[Path]) -> Path:
    if len(files) > 1:
        raise UserError(
            expected="one file a channel",
            found=f"{files[0].name} and {files[1].name}",
            where=files[0].parent,
            do="keep the right one there",
        )
    return files[0]


def _of_table(root: Path, name: str, row: Mapping[str, Any]) -> Case:
    """Return a case of "dataset": {name: {"images": [a file a channel], "label": file}}."""
    if not isinstance(row["images"], list):
        raise TypeError(f'"images" of {name} is no list')
    images = [listed_file(root, path, where=root / FILE) for path in row["images"]]
    label = listed_file(root, row["label"], where=root / FILE)
    found = [_NUMBERED.fullmatch(stem(path)) for path in images]
    numbered = len({one and one[1] for one in found}) == 1 and all(found)
    channels = tuple(one[2] for one in found if one) if numbered else ()
    return Case(name=name, image=images[0], more=tuple(images[1:]), label=label, channels=channels)
