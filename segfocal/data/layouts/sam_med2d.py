"""SAM-Med2D's folders: PNG pictures with one mask file an object, listed in JSON files.

    image2label_train.json   {image: [mask, …]}     what to train on
    label2image_test.json    {mask: image}          what to judge by

Paths are relative to the folder or begin with a folder's name, as data_demo/images/x.png: SAM-Med2D is started in the
folder above. A mask is named after its image, its structure and a number: x_liver_000.png.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from segfocal.data.case import Case, CaseList, Mask
from segfocal.data.label_scheme import INSIDE, OBJECTS
from segfocal.data.layouts.layout import Contents, Layout, Problem, collected
from segfocal.errors import Fault, UserError
from segfocal.foreign.door import Limits, read_json, shown
from segfocal.io.file_names import composed, listed_file
from segfocal.io.passed_over import PassedOver, Reason, left_over

_TRAIN, _VAL, _TEST = "image2label_train.json", "label2image_val.json", "label2image_test.json"
_LIMITS = Limits(mebibytes=4096)  # the whole of SA-Med2D-20M lists 19.7 million masks
_INSTANCE = re.compile(r"[_-]+\d{3,}$")  # _000: which of several objects of a structure


def is_folder(root: Path) -> bool:
    """Return whether a folder holds one of the JSON files."""
    return any((root / name).is_file() for name in (_TRAIN, _VAL, _TEST))


def read_folder(root: Path) -> Contents:
    """Read a folder's JSON files: a case an image, and values for the structures that masks are named after.

    label2image_test.json is what a run validates on, unless there is a label2image_val.json too; without either the
    images to train on have no split yet. Values count from 1 in the order of names; `objects` stands for all masks.
    JSON of another form or that lists nothing, a missing file, and an image to train on and to judge by are problems.
    """
    problems: list[Problem] = []
    listed = {name: _by_image(root / name, problems) for name in (_TRAIN, _VAL, _TEST) if (root / name).is_file()}
    splits = {_TRAIN: "train" if len(listed) > 1 else "", _VAL: "val", _TEST: "test" if _VAL in listed else "val"}
    found = [
        (root / name, _place(image, root, name, problems), [_place(mask, root, name, problems) for mask in masks])
        for name, images in listed.items()
        for image, masks in images.items()
    ]
    with collected(problems):
        _check_lists_share_nothing(found)
    names = _case_names([image for _, image, _ in found])
    known = {structure_of(mask, image) for _, image, masks in found for mask in masks} - {None, OBJECTS}
    values = {name: value for value, name in enumerate(sorted(filter(None, known)), start=1)}
    cases = tuple(
        Case(
            name=names[image],
            image=image,
            label=source,
            split=splits[source.name],
            masks=tuple(Mask(path=mask, value=values.get(structure_of(mask, image) or "", 0)) for mask in masks),
        )
        for source, image, masks in found
    )
    label_values = {OBJECTS: max(INSIDE, len(values) + 1), **values}
    found_here = CaseList(cases=cases, label_values=label_values, passed_over=_not_listed(cases))
    return Contents(found=found_here, problems=tuple(problems))


def _not_listed(cases: Iterable[Case]) -> tuple[PassedOver, ...]:
    """Return the pictures that lie beside listed ones and are not listed."""
    used = [path for case in cases for path in (*case.images, *case.label_files)]
    folders = sorted({path.parent for path in used})
    return tuple(one for folder in folders for one in left_over(folder, used, Reason.NOT_LISTED))


def structure_of(mask: Path, image: Path) -> str | None:
    """Return what a mask's name says more than its image's, without the number at its end; None where nothing is left.

    x_75_liver_000.png of x_75.png is liver, x_75_rib_left_9_000.png is rib_left_9. A number has three digits or more.
    """
    name, of = composed(mask.stem), composed(image.stem)
    if not name.startswith(of):
        return None
    return _INSTANCE.sub("", name[len(of) :]).strip("_- ") or None


def _by_image(path: Path, problems: list[Problem]) -> dict[str, list[str]]:
    """Return {image: [mask, …]} of either kind of file, without entries of another form."""
    images: dict[str, list[str]] = {}
    with collected(problems):
        for key, value in _entries(path).items():
            with collected(problems):
                _check_entry(path, key, value)
                if path.name == _TRAIN:
                    images[key] = value
                else:
                    images.setdefault(value, []).append(key)
    return images


def _entries(path: Path) -> dict[str, Any]:
    listed: Any = read_json(path, _LIMITS)
    if not isinstance(listed, dict) or not listed:
        raise _malformed(path, "nothing" if listed in ({}, []) else f"a {type(listed).__name__}")
    return listed


def _check_entry(path: Path, key: str, value: Any) -> None:
    right = isinstance(value, list) if path.name == _TRAIN else isinstance(value, str)
    if not right or not all(isinstance(mask, str) for mask in value) or "\0" in f"{key}{''.join(value)}":
        raise _malformed(path, f"{shown(key)}: {shown(value)}")


def _malformed(path: Path, found: str) -> UserError:
    form = "{image: [mask, …]}" if path.name == _TRAIN else "{mask: image}"
    return UserError(expected=f"paths of PNG files as {form}", found=found, where=path, do="mend the file")


def _place(listed: str, root: Path, source: str, problems: list[Problem]) -> Path:
    """Return the path of a listed file: under the folder, or there without the first part of its path."""
    path = PurePosixPath(listed.replace("\\", "/"))
    places = [listed_file(root, part, where=root / source) for part in (str(path), "/".join(path.parts[1:]))]
    for place in places:
        if place.is_file():
            return place
    if path.is_absolute() or PureWindowsPath(listed).drive:
        do = "write paths relative to the folder of the JSON file"
    else:
        do = f"add it, or set data.root to the folder that holds it ({places[1]} was tried too)"
    error = UserError(
        expected=f"the file {listed if listed.isprintable() else shown(listed)} of {source}",
        found="no such file",
        where=root,
        do=do,
        fault=Fault.MISSING,
    )
    problems.append(Problem(error=error, file=places[0]))
    return places[0]


def _check_lists_share_nothing(found: Iterable[tuple[Path, Path, list[Path]]]) -> None:
    """Raise UserError when an image is both trained on and judged by, or one file lists it by two paths."""
    sources: dict[Path, str] = {}
    twice: list[tuple[Path, str, str]] = []
    for source, image, _ in found:
        first = sources.setdefault(image.resolve(), source.name)
        if first != source.name:
            twice.append((image, first, source.name))
    if twice:
        image, first, second = twice[0]
        more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        raise UserError(
            expected="each image in one list, to train on or to judge by",
            found=f"{image.name}{more} in both {first} and {second}",
            where=image.parent,
            do="take them out of one of the two",
        )


def _case_names(images: list[Path]) -> dict[Path, str]:
    """Return a name for each image: its file's, and where several share one, its folder's before it."""
    count = Counter(image.stem for image in images)
    return {i: i.stem if count[i.stem] == 1 else f"{i.parent.name}--{i.stem}" for i in images}


LAYOUT = Layout(description="SAM-Med2D's with image2label_train.json", knows=is_folder, read=read_folder)
