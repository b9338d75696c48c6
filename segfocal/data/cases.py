"""The list of cases: every way a labelled folder can be laid out, read into one kind of record.

To add a layout, write a function `folder -> list[Case]` here and name it in `read_cases`.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segfocal.data import dicom_cases, sam_med2d
from segfocal.data.case import SPLITS, Case, CaseList
from segfocal.errors import UserError
from segfocal.io import volumes
from segfocal.io.files import read_json
from segfocal.io.png import is_png
from segfocal.io.volumes import SUFFIXES

__all__ = ["SPLITS", "Case", "CaseList", "hold_out", "read_cases", "stem"]


def read_cases(root: str | Path, *, label_names: str | Mapping[str, Any] | None = None) -> CaseList:
    """Read a case list from a CSV file, an MSD, nnU-Net or SAM-Med2D folder, one of images/ and labels/, or of DICOM.

    label_names: structure names by label value, as a mapping or a JSON file ("names.json" or "names.json#key" for
    one object inside it); in place of those of dataset.json.

    Raises:
        UserError: nothing there, a layout not recognised, a listed file missing, two cases of one name.
    """
    root = Path(root)
    if not root.exists():
        raise UserError(expected="a data folder or CSV", found="nothing there", where=root, do="set data.root")
    values: dict[str, int] = {}
    if root.is_file():
        cases = _from_csv(root)
    elif (root / "dataset.json").is_file():
        cases, values = _from_dataset_json(root)
    elif sam_med2d.is_folder(root):
        cases, values = sam_med2d.read_folder(root)
    elif (root / "images").is_dir() and (root / "labels").is_dir():
        cases = _from_folders(root / "images", root / "labels", suffix="")
    elif dicom_cases.is_folder(root):
        cases = dicom_cases.read_folder(root)
    else:
        raise UserError(
            expected="a CSV (image,label,split), a folder with dataset.json, one with images/ and labels/, "
            "SAM-Med2D's with image2label_train.json, or one of patients with DICOM slices and a label",
            found="none of these",
            where=root,
            do="set data.root to such a file or folder",
        )
    _check(cases, root)
    if label_names is not None:
        values = _read_label_names(label_names)
    cases, values = dicom_cases.name_labels(cases, values, root)
    return CaseList(cases=tuple(cases), label_values=values)


def hold_out(cases: CaseList, *, share: float, seed: int) -> CaseList:
    """Return the list with every case in a split: given ones stay, the others train, or validate if drawn.

    `share` of the others is drawn for val unless some case is given as val; one always remains to train on. The draw
    depends on the case names and `seed` only.

    Raises:
        ValueError: share outside [0,1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"expected data.hold_out in [0,1); got {share}")
    names = sorted(case.name for case in cases.cases if not case.split)
    drawing = share > 0 and len(names) > 1 and not cases.of("val")
    count = min(len(names) - 1, max(1, round(share * len(names)))) if drawing else 0
    held = set(np.random.default_rng(seed).permutation(names)[:count].tolist())
    split = tuple(replace(c, split=c.split or ("val" if c.name in held else "train")) for c in cases.cases)
    return CaseList(cases=split, label_values=cases.label_values)


def _from_csv(path: Path) -> list[Case]:
    """Read columns image,label and perhaps split and name; paths are relative to the CSV."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            expected="a CSV in UTF-8", found=f"other bytes ({error.__class__.__name__})", where=path, do="set data.root"
        ) from error
    if not {"image", "label"} <= set(columns or []):
        raise UserError(
            expected="a CSV with the columns image,label (and split)",
            found=f"columns {columns}",
            where=path,
            do="name the columns in its first line, separated by commas",
        )
    for row in rows:
        if (row.get("split") or "") not in ("", *SPLITS):
            raise UserError(
                expected=f"a split of {', '.join(SPLITS)}", found=repr(row["split"]), where=path, do="mend the row"
            )
    return [
        Case(
            name=row.get("name") or stem(Path(row["image"] or "")),
            image=path.parent / (row["image"] or ""),  # None where a row is too short
            label=path.parent / (row["label"] or ""),
            split=row.get("split") or "",
        )
        for row in rows
    ]


def _from_dataset_json(root: Path) -> tuple[list[Case], dict[str, int]]:
    """Read an MSD folder (imagesTr, labelsTr and a "training" list) or an nnU-Net one (channels as _0000)."""
    described = read_json(root / "dataset.json")
    try:
        values, listed = _described_labels(described.get("labels", {})), described.get("training")
        if isinstance(listed, list):
            return [_listed_case(root, row) for row in listed], values
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            expected='"labels" as names and values and "training" as a list of {"image", "label"}',
            found=f"{type(error).__name__}: {error}",
            where=root / "dataset.json",
            do="mend the file",
        ) from error
    cases = _from_folders(root / "imagesTr", root / "labelsTr", suffix="_0000")
    return cases, values


def _listed_case(root: Path, row: Mapping[str, str]) -> Case:
    image = _first_channel(root / row["image"])
    return Case(name=stem(Path(row["image"])), image=image, label=root / row["label"], more=_further_channels(image))


def _first_channel(image: Path) -> Path:
    """Return the file of a listed image, which nnU-Net v1 lists without the _0000 that the file carries."""
    with_channel = image.with_name(stem(image) + "_0000" + image.name.removeprefix(stem(image)))
    return with_channel if with_channel.is_file() and not image.is_file() else image


def _further_channels(image: Path) -> tuple[Path, ...]:
    """Return the files of _0001, _0002 and so on beside one of _0000."""
    if not stem(image).endswith("_0000"):
        return ()
    name, ending = stem(image).removesuffix("_0000"), image.name.removeprefix(stem(image))
    found: list[Path] = []
    while (channel := image.with_name(f"{name}_{len(found) + 1:04d}{ending}")).is_file():
        found.append(channel)
    return tuple(found)


def _is_further_channel(image: Path) -> bool:
    """Return whether an image is named _0001 or more and one of its case is named _0000."""
    found = re.fullmatch(r"(.+)_(\d{4})", stem(image))
    if not found or found[2] == "0000":
        return False
    return image.with_name(f"{found[1]}_0000{image.name.removeprefix(stem(image))}").is_file()


def _described_labels(labels: Mapping[str, Any]) -> dict[str, int]:
    """Return label values by name; MSD writes {"1": "liver"}, nnU-Net v2 {"liver": 1}."""
    values = {str(name): value for name, value in labels.items() if isinstance(value, int)}
    if not values:
        values = {str(name): int(value) for value, name in labels.items()}
    return {name: value for name, value in values.items() if value != 0}


def _from_folders(images: Path, labels: Path, *, suffix: str) -> list[Case]:
    """Pair files of one name in two folders; `suffix` is what image names carry more."""
    files = sorted(path for path in images.glob("[!.]*") if path.name.endswith(SUFFIXES))
    if suffix:
        files = [path for path in files if not _is_further_channel(path)]
    scans = [path for path in files if not is_png(path)]  # beside them pictures are previews
    cases = []
    for image in scans or files:
        name = stem(image).removesuffix(suffix)
        label = next((labels / (name + end) for end in SUFFIXES if (labels / (name + end)).is_file()), None)
        more = _further_channels(image) if suffix else ()
        cases.append(Case(name=name, image=image, label=label or labels / (name + SUFFIXES[0]), more=more))
    return cases


def _check(cases: list[Case], root: Path) -> None:
    if not cases:
        raise UserError(expected="at least one case", found="none", where=root, do="add .nii.gz or .png files")
    for case in cases:
        if case.name != Path(case.name).name:
            raise UserError(
                expected="case names fit for a file name", found=case.name, where=root, do="leave out the slashes"
            )
        for path in (*case.images, case.label):
            if not volumes.exists(path):
                raise UserError(
                    expected=f"the {'image' if path != case.label else 'label'} of case {case.name}",
                    found="no such file",
                    where=path,
                    do="add it or take the case off the list",
                )
    odd = next((case for case in cases if len(case.more) != len(cases[0].more)), None)
    if odd is not None:
        raise UserError(
            expected=f"as many channels of every case, {len(cases[0].images)} as {cases[0].name} has",
            found=f"{len(odd.images)} of {odd.name}",
            where=odd.image.parent,
            do="add the missing files or take the case off the list",
        )
    twice = sorted(name for name, count in Counter(case.name for case in cases).items() if count > 1)
    if twice:
        raise UserError(
            expected="one case a name", found=f"{twice[0]} twice", where=root, do="give each a name of its own"
        )
    count = Counter(image.resolve() for case in cases for image in case.images)
    for case in cases:
        again = next((image for image in case.images if count[image.resolve()] > 1), None)
        if again is not None:
            raise UserError(
                expected="each scan once, in one split", found=f"{again.name} twice", where=root, do=f"drop {case.name}"
            )


def _read_label_names(source: str | Mapping[str, Any]) -> dict[str, int]:
    path, _, key = source.partition("#") if isinstance(source, str) else ("", "", "")
    named: Any = read_json(Path(path)) if path else source
    try:
        return {str(name): int(value) for value, name in (named[key] if key else named).items()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            expected="structure names by label value, such as {1: liver}" + (f", under the key {key}" if key else ""),
            found=f"{error.__class__.__name__}: {error}",
            where=path or "data.label_names",
            do="mend data.label_names",
        ) from error


def stem(path: Path) -> str:
    """Return a file's name without .nii, .nii.gz or .png."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.stem
