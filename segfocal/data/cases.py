"""The list of cases: whatever lies at a path, read by the layout that knows it, and checked.

Training reads it strictly (`read_cases`), the doctor with every problem (`read_contents`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segfocal.data import dicom_labels
from segfocal.data.case import Case, CaseList
from segfocal.data.layouts import LAYOUTS, folders
from segfocal.data.layouts.layout import Contents, Problem, collected, no_cases
from segfocal.errors import Fault, UserError
from segfocal.files import read_json
from segfocal.io import volumes
from segfocal.io.channels import Channels, odd_channels
from segfocal.io.dicom.file_kinds import split_address
from segfocal.io.file_names import composed


def read_cases(
    root: str | Path, *, label_names: str | Mapping[str, Any] | None = None, ignore: str | int | None = None
) -> CaseList:
    """Read the cases that lie at a path, in any of the layouts of `segfocal.data.layouts`.

    Args:
        root: a folder or a file that lists cases.
        label_names: structure names by label value, as a mapping or a JSON file ("names.json", or "names.json#key" for
            one object inside it), in place of those of the data set.
        ignore: the label value, or its name, of voxels that count for nothing; None takes the label that dataset.json
            calls "ignore".

    Raises:
        UserError: the first problem: nothing there, an unknown layout, a listed file missing, two cases of one name.
    """
    contents = read_contents(root, label_names=label_names, ignore=ignore)
    if contents.problems:
        raise contents.problems[0].error
    return contents.found


def read_contents(
    root: str | Path, *, label_names: str | Mapping[str, Any] | None = None, ignore: str | int | None = None
) -> Contents:
    """Read what can be made out of the cases that lie at a path, with everything that `read_cases` refuses.

    Args:
        root: as of `read_cases`; so are label_names and ignore.
        label_names: names that cannot be read are a problem, and those of the data set are kept.
        ignore: a value that is unknown is a problem, and that of the data set is kept.

    Raises:
        UserError: nothing there, or nothing by which a case could be named.
    """
    root = Path(root)
    if not root.exists():
        raise UserError(expected="a data folder or CSV", found="nothing there", where=root, do="set data.root")
    contents = _read_layout(root)
    problems = [*contents.problems, *_list_problems(contents.found.cases, root, contents.channels)]
    cases = contents.found
    if label_names is not None:
        with collected(problems):
            cases = replace(cases, label_values=_read_label_names(label_names))
    cases = dicom_labels.name_labels(cases, root, problems)
    if ignore is not None:
        with collected(problems):
            cases = replace(cases, ignored=_value_to_ignore(ignore, cases.label_values))
    return replace(contents, found=cases, problems=tuple(problems))


def files_read(cases: Iterable[Case], *listing: Any) -> list[Path]:
    """Return every file that cases are read from, slices of a series too; nothing a command writes may be one of them.

    listing: what names the cases, their labels or parts: the root of the data set, a file of names. A folder counts
    with the files in it; anything but a path, as None, counts for nothing.
    """
    named = [path for case in cases for path in (*case.images, case.label, *case.label_files)]
    named += [Path(str(place).partition("#")[0]) for place in listing if isinstance(place, str | Path) and str(place)]
    found = list[Path]()
    for place in dict.fromkeys(split_address(path)[0] for path in named):
        found.append(place)
        if place.is_dir():
            found += [entry for entry in place.iterdir() if entry.is_file()]
    return found


def _read_layout(root: Path) -> Contents:
    """Read a file or folder by the first layout that knows it."""
    layout = next((layout for layout in LAYOUTS if layout.knows(root)), None)
    if layout is not None:
        return layout.read(root)
    error = UserError(
        expected=", ".join(layout.description for layout in LAYOUTS[:-1]) + f", or {LAYOUTS[-1].description}",
        found="none of these",
        where=root,
        do="set data.root to such a file or folder",
    )
    images = folders.read_pair(root / "images", root / "labels")  # images without labels are worth a look
    if not images.found.cases:
        raise error
    return replace(images, problems=(Problem(error=error), *images.problems))


def _value_to_ignore(ignore: str | int, label_values: Mapping[str, int]) -> int:
    if str(ignore) in label_values:
        return label_values[str(ignore)]
    if not str(ignore).isdecimal() or int(ignore) < 1:
        raise UserError(
            expected="data.ignore to be a label value from 1 or the name of a structure",
            found=str(ignore),
            do=f"choose one of {', '.join(list(label_values)[:12])}" if label_values else "give the value",
        )
    return int(ignore)


def _list_problems(cases: Sequence[Case], root: Path, promised: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with a list of cases, whatever its layout. promised: the channels that every case has."""
    if not cases:
        yield no_cases(root)
        return
    for case in cases:
        yield from _case_problems(case, root)
    channels = [Channels(case=case.name, images=case.images, names=case.channels) for case in cases]
    for odd in odd_channels(channels, promised):
        error = UserError(
            expected=odd.expected,
            found=odd.found,
            where=odd.of.images[0].parent,
            do="add the missing files or take the case off the list",
        )
        yield Problem(error=error, case=odd.of.case)
    yield from _listed_twice(cases, root)


def _case_problems(case: Case, root: Path) -> Iterator[Problem]:
    """Yield a name that is no file name, and each file that is missing."""
    if case.name != Path(case.name).name:
        error = UserError(
            expected="case names fit for a file name", found=case.name, where=root, do="leave out the slashes"
        )
        yield Problem(error=error, case=case.name)
    for path in (*case.images, *((case.label,) if case.masks is None else case.label_files)):
        if not volumes.exists(path):
            error = UserError(
                expected=f"the {'image' if path in case.images else 'label'} of case {case.name}",
                found="no such file",
                where=path,
                do="add it or take the case off the list",
                fault=Fault.MISSING,
            )
            yield Problem(error=error, case=case.name, file=path)


def _listed_twice(cases: Sequence[Case], root: Path) -> Iterator[Problem]:
    """Yield names that several cases have, and images that are listed several times."""
    names = Counter(composed(case.name) for case in cases)
    for name in sorted(name for name, count in names.items() if count > 1):
        error = UserError(
            expected="one case a name",
            found=f"{name} twice",
            where=root,
            do="give each a name of its own",
            fault=Fault.NAME_TWICE,
        )
        yield Problem(error=error, case=name)
    listed = [(os.path.realpath(image), image, case) for case in cases for image in case.images]
    times = Counter(place for place, _, _ in listed)
    seen = set[str]()
    for place, image, case in listed:
        if times[place] == 1 or place in seen:
            continue
        seen.add(place)
        error = UserError(
            expected="each scan once, in one split",
            found=f"{image.name} twice",
            where=root,
            do=f"drop {case.name}",
            fault=Fault.FILE_TWICE,
        )
        yield Problem(error=error, file=image)


def _read_label_names(given: str | Mapping[str, Any]) -> dict[str, int]:
    path, _, key = given.partition("#") if isinstance(given, str) else ("", "", "")
    named: Any = read_json(Path(path)) if path else given
    part = named.get(key) if key and isinstance(named, dict) else named
    if isinstance(part, dict) and part and all(_is_value_of_a_name(*pair) for pair in part.items()):
        name, value = next(iter(part.items()))
        raise UserError(
            expected=f"structure names by label value, as {{{value}: {name}}}",
            found=f"{{{name}: {value}}}, values by name",
            where=path or "data.label_names",
            do="turn each pair round",
        )
    try:
        return {str(name): int(value) for value, name in (named[key] if key else named).items()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            expected="structure names by label value, such as {1: liver}" + (f", under the key {key}" if key else ""),
            found=f"{error.__class__.__name__}: {error}",
            where=path or "data.label_names",
            do="mend data.label_names",
        ) from error


def _is_value_of_a_name(name: Any, value: Any) -> bool:
    """Return whether a pair is {liver: 1}, as nnU-Net 2 writes it, rather than {1: liver}."""
    return type(value) is int and not str(name).isdecimal()
