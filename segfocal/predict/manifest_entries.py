"""The lines of manifest.jsonl, by which a command over many scans goes on: read, or refused as another's.

A manifest of a million scans has three million lines, a gigabyte. So it is read a line at a time, and of each scan only
the place of its last line is kept, which is read again where it is asked for.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from segfocal.errors import Fault, UserError
from segfocal.foreign import door
from segfocal.foreign.json_lines import placed_lines, text_of
from segfocal.foreign.schema import Schema, checked

Entry = dict[str, Any]

_BEGINS = '{"name": '  # every line of ours
_DO = "choose another output folder, or move that file away"
_LIMITS = door.Limits(mebibytes=64 * 1024, finite=False)
_PLAIN = re.compile(  # as `LastEntries.add` writes it of a scan that has not failed
    rb'\{"name": "([^"\\]*)", "state": "(?:begun|writing|done)", "input": \[[^\]\\]*\], "signature": "\w*", '
    rb'"sha256": \{[^{}]*\}[^{}\[\]]*\}\n'
)


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


class LastEntries(Mapping[str, Entry]):
    """The last line of each scan in a manifest, by its name; of a file that is not there none.

    Args:
        path: the manifest. A line that a kill cut short is passed over, and ended.

    Raises:
        UserError: lines that no run of ours wrote; one that is looked up may be, too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        if not path.is_file():
            return
        cut = False
        for number, (start, line) in enumerate(placed_lines(path, _LIMITS), start=1):
            if plain := _PLAIN.fullmatch(line):
                name, cut = text_of(plain[1], path, start), False
            elif line.strip():
                entry = _entry(text_of(line, path, start), f"{path}, line {number}")
                if cut := entry is None:
                    continue
                name = entry["name"]
            else:
                continue
            self._places[name] = start
        if cut:
            with path.open("a", encoding="utf-8") as file:  # so that the next line is one of its own
                file.write("\n")

    def __getitem__(self, name: str) -> Entry:
        place = self._places[name]
        with self.path.open("rb") as file:
            file.seek(place)
            line = file.readline()
        entry = _entry(text_of(line, self.path, place), f"{self.path}, byte {place}")
        if entry is None or entry["name"] != name:
            raise UserError(
                expected="the lines that were there",
                found="others",
                where=self.path,
                do="leave the file to one command",
            )
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def add(self, entry: Entry) -> None:
        """Write a line, on disk before this returns."""
        with self.path.open("ab") as file:
            place = file.tell()
            file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._places[entry["name"]] = place


def _entry(line: str, where: str) -> Entry | None:
    """Return what a line says; None of one of ours that a kill cut short."""
    try:
        entry = door.parse_json(line, where=where)
    except UserError as error:
        if error.fault is Fault.DAMAGED and (line.startswith(_BEGINS) or _BEGINS.startswith(line.rstrip("\n"))):
            return None
        raise UserError(expected="a manifest of ours", found=error.found, where=where, do=_DO) from error
    checked(entry, ManifestEntry, where=where, do=_DO)
    if entry["state"] == "failed" and entry.get("message") is None:
        raise UserError(expected="why a scan failed", found="no message", where=where, do=_DO)
    return entry
