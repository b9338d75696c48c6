"""The lines of manifest.jsonl, by which a command over many scans goes on: read, or refused as another's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter

from segfocal.errors import Fault, UserError
from segfocal.files import check_regular
from segfocal.foreign import door
from segfocal.foreign.json_stream import Line, lines_from
from segfocal.foreign.schema import Schema, checked

_BEGINS = '{"name": '  # every line of ours
_DO = "choose another output folder, or move that file away"


class ManifestEntry(Schema):
    """A line: what happened to a scan.

    Args:
        name: of the scan.
        state: what it says.
        input: path, bytes and time of each file of the scan.
        signature: of the bundles and options.
        sha256: of the files written, by name; None in lines of before.
        message: why it failed.
    """

    model_config = ConfigDict(extra="allow")

    name: str
    state: str
    input: list[str | int | None]
    signature: str
    sha256: dict[str, str] | None = None
    message: str | None = None


_FORM = TypeAdapter(ManifestEntry)


class PlacedEntry(NamedTuple):
    """A line as it was read, and the bytes of its file between which it lies."""

    entry: dict[str, Any]
    start: int
    end: int


def entries_from(path: Path, start: int = 0, *, growing: bool = False) -> Iterator[PlacedEntry]:
    """Yield the lines of a manifest from a byte on. A line that a kill cut short is passed over.

    Args:
        path: the file.
        start: the byte.
        growing: whether another process writes it: a last line without its end is left for the next time.

    Raises:
        UserError: lines that no run of ours wrote.
    """
    check_regular(path)
    for line in lines_from(path, start):
        if line.whole or not growing:
            entry = _parsed(line, f"{path}, line {line.number}{f' after byte {start}' if start else ''}")
            if entry is not None:
                yield PlacedEntry(entry, line.start, line.end)


def _parsed(line: Line, where: str) -> dict[str, Any] | None:
    """Return what a line says; None where a kill cut it short."""
    try:
        entry = door.parse_json(line.text, where=where)
    except UserError as error:
        if error.fault is not Fault.DAMAGED or not (line.text.startswith(_BEGINS) or _BEGINS.startswith(line.text)):
            raise UserError(expected="a manifest of ours", found=error.found, where=where, do=_DO) from error
        return None
    checked(entry, _FORM, where=where, do=_DO)
    if entry["state"] == "failed" and entry.get("message") is None:
        raise UserError(expected="why a scan failed", found="no message", where=where, do=_DO)
    return entry


def end_last_line(path: Path) -> None:
    """End the last line of a manifest that a kill cut short, so that the next one is one of its own."""
    with path.open("rb+") as file:
        if file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n":
            file.write(b"\n")
