"""The cases of a data set for the doctor: those that training reads, or, where it refuses, all that can be named."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.data.case import SPLITS, Case
from segfocal.data.cases import read_cases
from segfocal.data.layouts import SOURCES
from segfocal.doctor.checks import Finding
from segfocal.errors import UserError
from segfocal.files import read_json
from segfocal.io.volumes import SUFFIXES, stem

_FOLDERS = (("images", "labels", ""), ("imagesTr", "labelsTr", "_0000"))


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Cases, label values by structure name, what is wrong with the list, and what dataset.json says of the scanner.

    allowed: those names and whatever else a label may hold: parts of regions, and the value to ignore.
    """

    cases: tuple[Case, ...]
    label_values: dict[str, int]
    allowed: dict[str, int]
    ignored: int | None
    findings: list[Finding]
    modality: str


def list_cases(
    root: str | Path, *, label_names: str | Mapping[str, Any] | None = None, ignore: str | int | None = None
) -> Listing:
    """List the cases of a data set; files that are missing, named twice or left over are findings, not errors.

    root, label_names, ignore: as of `read_cases`.

    Raises:
        UserError: nothing there, or nothing by which cases could be named.
    """
    root = Path(root)
    findings: list[Finding] = []
    try:
        read = read_cases(root, label_names=label_names, ignore=ignore)
        cases, values, ignored = read.cases, dict(read.label_values), read.ignored
    except UserError as error:
        cases = _leniently(root)
        if not cases:
            raise
        values = _names(root, label_names)
        ignored = values.get(str(ignore), int(ignore) if str(ignore).isdecimal() else None)  # type: ignore[arg-type]
        findings = _twice(cases)
        absent = any(not path.exists() for case in cases for path in (*case.images, case.label))
        if not findings and not absent:
            findings = [Finding(check="case_list", found=f"{error.found}; {error.do}", file=root)]
    findings += _left_over(root, cases)
    allowed = values | _regions(root, values) if values and label_names is None else dict(values)
    if values and ignored is not None:
        allowed.setdefault("ignore", ignored)
    return Listing(
        cases=cases,
        label_values=values,
        allowed=allowed,
        ignored=ignored,
        findings=findings,
        modality=_modality(root),
    )


def _leniently(root: Path) -> tuple[Case, ...]:
    """Return the cases of a list that training refuses: all that its layout names, or what can be made out without."""
    source = next((source for source in SOURCES if source.knows(root)), None)
    try:
        cases = source.read(root).cases if source else ()
    except UserError:
        cases = ()
    return cases or tuple(_listed(root) if root.is_file() else _in_folders(root))


def _listed(path: Path) -> list[Case]:
    """Return the rows of a CSV that name both files, whatever else is wrong with it."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = list(csv.DictReader(file))
    except (OSError, csv.Error):
        return []
    return [
        Case(
            name=row.get("name") or stem(Path(row["image"])),
            image=path.parent / row["image"],
            label=path.parent / row["label"],
            split=row.get("split") if row.get("split") in SPLITS else "",  # type: ignore[arg-type]
        )
        for row in rows
        if row.get("image") and row.get("label")
    ]


def _in_folders(root: Path) -> list[Case]:
    """Return a case for each image below `root`, with the label of its name, there or not."""
    cases = []
    for images, labels, suffix in _FOLDERS:
        for image in _volumes(root / images):
            name = stem(image).removesuffix(suffix)
            there = (root / labels / (name + ending) for ending in SUFFIXES)
            label = next((path for path in there if path.is_file()), root / labels / (name + SUFFIXES[0]))
            cases.append(Case(name=name, image=image, label=label))
    known = {case.name for case in cases}
    return cases + [case for case in _described(root) if case.name not in known]


def _described(root: Path) -> list[Case]:
    """Return the cases that dataset.json lists."""
    training = _dataset_json(root).get("training")
    rows = [row for row in training if isinstance(row, dict)] if isinstance(training, list) else []
    return [
        Case(name=stem(Path(row["image"])), image=root / row["image"], label=root / row["label"])
        for row in rows
        if isinstance(row.get("image"), str) and isinstance(row.get("label"), str)
    ]


def _volumes(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.name.endswith(SUFFIXES))


def _twice(cases: tuple[Case, ...]) -> list[Finding]:
    names = Counter(case.name for case in cases)
    images = Counter(case.image.resolve() for case in cases)
    return [
        *[
            Finding(check="name_twice", found=f"{name} {count} times", case=name)
            for name, count in names.items()
            if count > 1
        ],
        *[
            Finding(check="file_twice", found=f"{count} times", file=image)
            for image, count in images.items()
            if count > 1
        ],
    ]


def _left_over(root: Path, cases: tuple[Case, ...]) -> list[Finding]:
    used = {path.resolve() for case in cases for path in (case.label, *case.label_files)}
    return [
        Finding(check="label_without_image", found="no image of its name", case=stem(path), file=path)
        for _, labels, _ in _FOLDERS
        if root.is_dir() and used & {path.resolve() for path in _volumes(root / labels)}
        for path in _volumes(root / labels)
        if path.resolve() not in used
    ]


def _dataset_json(root: Path) -> dict[str, Any]:
    try:
        described = read_json(root / "dataset.json")
    except UserError:
        return {}
    return described if isinstance(described, dict) else {}


def _names(root: Path, label_names: str | Mapping[str, Any] | None) -> dict[str, int]:
    """Return label values by name from what was given or dataset.json, of a list that training refuses."""
    named: Any = label_names
    if isinstance(label_names, str):
        path, _, key = label_names.partition("#")
        named = read_json(Path(path))
        named = named[key] if key else named
    elif label_names is None:
        named = _dataset_json(root).get("labels", {})
    pairs = named.items() if isinstance(named, Mapping) else []
    turned = [(name, value) if isinstance(value, int) else (value, name) for name, value in pairs]
    return {str(name): int(value) for name, value in turned if str(value).isdecimal() and int(value) != 0}


def _regions(root: Path, values: Mapping[str, int]) -> dict[str, int]:
    """Return the values of dataset.json that have no name of their own: those of regions."""
    labels = _dataset_json(root).get("labels")
    more: dict[str, int] = {}
    for name, value in labels.items() if isinstance(labels, dict) else ():
        for one in value if isinstance(value, list) else ():
            if isinstance(one, int) and one not in (0, *values.values()):
                more[f"{name}, {one}"] = one
    return more


def _modality(root: Path) -> str:
    """Return "ct" or "other" where dataset.json says, "" where nothing does."""
    described = _dataset_json(root)
    channels = described.get("channel_names") or described.get("modality")
    words = [str(word).lower() for word in channels.values()] if isinstance(channels, dict) else []
    return "" if not words else "ct" if any("ct" in word.split() for word in words) else "other"
