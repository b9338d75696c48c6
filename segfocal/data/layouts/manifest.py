"""Lists of cases in one file: CSV with a header line, or JSONL with an object a line.

    image,label,split,name,group          split, name and group (or patient) may be missing; paths relative to the file
    {"image": ["t1.nii.gz", "t2.nii.gz"], "label": {"liver": "l.nii.gz", "spleen": "s.nii.gz"}, "group": "p1"}

Several images are the channels of a case; several labels are masks, named or after their files. In CSV they are
separated by semicolons.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segfocal.data.case import SPLITS, Case, CaseList
from segfocal.data.layouts.layout import (
    Contents,
    Layout,
    Problem,
    by_structure,
    collected,
    masks_of,
    numbered,
)
from segfocal.errors import Fault, UserError
from segfocal.foreign.door import Limits, parse_json, read_text, shown
from segfocal.io.file_names import composed, listed_file
from segfocal.io.volumes import stem

_GROUPS = ("group", "patient", "patient_id", "subject")


def read_csv(path: Path) -> Contents:
    """Read columns image,label and perhaps split, name and group.

    Raises:
        UserError: no CSV, or one without the columns image and label.
    """
    problems: list[Problem] = []
    with collected(problems):
        rows, columns = _rows(path, errors="strict")
    if problems:
        rows, columns = _rows(path, errors="replace")
    if not {"image", "label"} <= set(columns or []):
        error = UserError(
            expected="a CSV with the columns image,label (and split)",
            found=f"columns {columns}",
            where=path,
            do="name the columns in its first line, separated by commas",
        )
        raise problems[0].error if problems else error
    return _contents([row | {key: _cell(row[key], path) for key in ("image", "label")} for row in rows], path, problems)


def _rows(path: Path, *, errors: str) -> tuple[list[dict[str, Any]], Sequence[str] | None]:
    """Return the rows and the names of the columns. errors: "strict", or "replace" for bytes that are not UTF-8."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors=errors) as file:
            reader = csv.DictReader(file)
            return list(reader), reader.fieldnames
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            expected="a CSV in UTF-8", found=f"other bytes ({error.__class__.__name__})", where=path, do="set data.root"
        ) from error


def read_jsonl(path: Path) -> Contents:
    """Read an object a line, with "image", "label" and perhaps "split", "name" and "group".

    Raises:
        UserError: a file that is not text.
    """
    rows, problems = [], list[Problem]()
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            with collected(problems):
                rows.append(_row(line, number, path))
    return _contents(rows, path, problems)


def _row(line: str, number: int, path: Path) -> dict[str, Any]:
    """Return a line of JSONL as a row; UserError unless it names image and label."""
    try:
        row = parse_json(line, where=f"{path}, line {number}", limits=Limits())
    except UserError as error:
        if error.fault is not Fault.DAMAGED:
            raise
        row = error.found
    if isinstance(row, dict) and _is_listed(row.get("image")) and _is_listed(row.get("label"), named=True):
        return row
    raise UserError(
        expected='{"image": a path or a list, "label": a path, a list or {name: path}} in each line',
        found=f"in line {number} {shown(row)}",
        where=path,
        do="mend the line",
    )


def _lines(path: Path) -> list[str]:
    return read_text(path, expected="JSONL", limits=Limits(mebibytes=1024)).split("\n")


def _is_listed(value: object, *, named: bool = False) -> bool:
    if named and isinstance(value, dict):
        return all(isinstance(path, str) for path in value.values())
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(path, str) for path in value)
    )


def _cell(text: str | None, path: Path) -> str | list[str]:
    """Return the paths of a CSV cell, which is None where a row is too short."""
    text = text or ""
    if ";" not in text or (path.parent / text).is_file():
        return text
    return [part.strip() for part in text.split(";") if part.strip()]


def _contents(rows: Sequence[Mapping[str, Any]], path: Path, problems: list[Problem]) -> Contents:
    """Return the cases of rows, with what is wrong with the rows added to the problems of the file."""
    listed = []
    for row in rows:
        with collected(problems, case=str(row.get("name") or "")):
            listed.append((row, _images(row, path), _masks(row, path)))
    values = numbered(name for _, _, masks in listed for name in masks or ())
    mixed = {masks is None for _, _, masks in listed}
    if len(mixed) > 1:
        error = UserError(
            expected="a label map of every case, or masks of every case",
            found="both",
            where=path,
            do='write {"label": {name: path}} where a case has one mask only',
        )
        problems.append(Problem(error=error))
    cases = []
    for row, images, masks in listed:
        name, split = str(row.get("name") or stem(images[0])), ""
        with collected(problems, case=name):
            split = _split(row, path)
        cases.append(
            Case(
                name=name,
                image=images[0],
                more=tuple(images[1:]),
                label=listed_file(path.parent, row["label"], where=path) if masks is None else path,
                split=split,
                masks=None if masks is None else masks_of(masks, values),
                group=next((str(row[key]) for key in _GROUPS if row.get(key)), ""),
            )
        )
    return Contents(found=CaseList(cases=tuple(cases), label_values=values), problems=tuple(problems))


def _images(row: Mapping[str, Any], path: Path) -> list[Path]:
    images = row["image"] if isinstance(row["image"], list) else [row["image"]]
    return [listed_file(path.parent, image, where=path) for image in images]


def _masks(row: Mapping[str, Any], path: Path) -> dict[str, Path] | None:
    """Return mask files by structure, or None for a label map."""
    label = row["label"]
    if isinstance(label, str):
        listed_file(path.parent, label, where=path)
        return None
    if isinstance(label, dict):
        return {composed(name): listed_file(path.parent, file, where=path) for name, file in label.items()}
    first = row["image"] if isinstance(row["image"], str) else row["image"][0]
    files = [listed_file(path.parent, file, where=path) for file in label]
    return by_structure(files, stem(Path(first)), str(row.get("name") or ""))


def _split(row: Mapping[str, Any], path: Path) -> str:
    split = row.get("split") or ""
    if split not in ("", *SPLITS):
        raise UserError(expected=f"a split of {', '.join(SPLITS)}", found=repr(split), where=path, do="mend the row")
    return str(split)


def _is_jsonl(root: Path) -> bool:
    return root.is_file() and root.suffix.lower() in (".jsonl", ".ndjson")


CSV = Layout(
    description="a CSV (image,label,split)", knows=lambda root: root.is_file() and not _is_jsonl(root), read=read_csv
)
JSONL = Layout(description="a JSONL", knows=_is_jsonl, read=read_jsonl)
