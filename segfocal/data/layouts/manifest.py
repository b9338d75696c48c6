"""Lists of cases in one file: CSV with a header line, or JSONL with an object a line.

    image,label,split,name,group          split, name and group (or patient) may be missing; paths relative to the file
    {"image": ["t1.nii.gz", "t2.nii.gz"], "label": {"liver": "l.nii.gz", "spleen": "s.nii.gz"}, "group": "p1"}

Several images are the channels of a case; several labels are masks, named or after their files. In CSV they are
separated by semicolons.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segfocal.data.case import SPLITS, Case, CaseList
from segfocal.data.layouts.layout import Source, masks_of, numbered, structure_name
from segfocal.errors import UserError
from segfocal.io.volumes import stem

_GROUPS = ("group", "patient", "patient_id", "subject")


def read_csv(path: Path) -> CaseList:
    """Read columns image,label and perhaps split, name and group."""
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
    return _cases([row | {key: _cell(row[key], path) for key in ("image", "label")} for row in rows], path)


def read_jsonl(path: Path) -> CaseList:
    """Read an object a line, with "image", "label" and perhaps "split", "name" and "group"."""
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            row = str(error)
        if not (isinstance(row, dict) and _is_listed(row.get("image")) and _is_listed(row.get("label"), named=True)):
            raise UserError(
                expected='{"image": a path or a list, "label": a path, a list or {name: path}} in each line',
                found=f"in line {number} {str(row)[:80]}",
                where=path,
                do="mend the line",
            )
        rows.append(row)
    return _cases(rows, path)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(expected="JSONL in UTF-8", found="other bytes", where=path, do="set data.root") from error


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


def _cases(rows: Iterable[Mapping[str, Any]], path: Path) -> CaseList:
    rows = list(rows)
    listed = [(row, _images(row, path), _masks(row)) for row in rows]
    values = numbered(name for _, _, masks in listed for name in masks or ())
    mixed = {masks is None for _, _, masks in listed}
    if len(mixed) > 1:
        raise UserError(
            expected="a label map of every case, or masks of every case",
            found="both",
            where=path,
            do='write {"label": {name: path}} where a case has one mask only',
        )
    cases = []
    for row, images, masks in listed:
        files = None if masks is None else {name: path.parent / file for name, file in masks.items()}
        cases.append(
            Case(
                name=str(row.get("name") or stem(images[0])),
                image=images[0],
                more=tuple(images[1:]),
                label=path if files is not None else path.parent / row["label"],
                split=_split(row, path),
                masks=None if files is None else masks_of(files, values),
                group=next((str(row[key]) for key in _GROUPS if row.get(key)), ""),
            )
        )
    return CaseList(cases=tuple(cases), label_values=values)


def _images(row: Mapping[str, Any], path: Path) -> list[Path]:
    images = row["image"] if isinstance(row["image"], list) else [row["image"]]
    return [path.parent / image for image in images]


def _masks(row: Mapping[str, Any]) -> dict[str, str] | None:
    """Return mask files by structure, or None for a label map."""
    label = row["label"]
    if isinstance(label, str):
        return None
    if isinstance(label, dict):
        return label
    first = row["image"] if isinstance(row["image"], str) else row["image"][0]
    return {structure_name(Path(mask), stem(Path(first)), str(row.get("name") or "")): mask for mask in label}


def _split(row: Mapping[str, Any], path: Path) -> str:
    split = row.get("split") or ""
    if split not in ("", *SPLITS):
        raise UserError(expected=f"a split of {', '.join(SPLITS)}", found=repr(split), where=path, do="mend the row")
    return str(split)


def _is_jsonl(root: Path) -> bool:
    return root.is_file() and root.suffix.lower() in (".jsonl", ".ndjson")


CSV = Source(
    layout="a CSV (image,label,split)", knows=lambda root: root.is_file() and not _is_jsonl(root), read=read_csv
)
JSONL = Source(layout="a JSONL", knows=_is_jsonl, read=read_jsonl)
