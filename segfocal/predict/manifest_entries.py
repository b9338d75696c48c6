"""The lines of manifest.jsonl, by which a command over many scans goes on: read, or refused as another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from segfocal.errors import Fault, UserError
from segfocal.foreign import door
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


def read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """Return the last line of each scan by its name. A line that a kill cut short is passed over, and ended.

    Raises:
        UserError: lines that no run of ours wrote.
    """
    last: dict[str, dict[str, Any]] = {}
    cut = False
    for line, where in door.json_lines(path):
        try:
            entry, cut = door.parse_json(line, where=where), False
        except UserError as error:
            if error.fault is not Fault.DAMAGED or not (line.startswith(_BEGINS) or _BEGINS.startswith(line)):
                raise UserError(expected="a manifest of ours", found=error.found, where=where, do=_DO) from error
            cut = True
            continue
        checked(entry, ManifestEntry, where=where, do=_DO)
        if entry["state"] == "failed" and entry.get("message") is None:
            raise UserError(expected="why a scan failed", found="no message", where=where, do=_DO)
        last[entry["name"]] = entry
    if cut:
        with path.open("a", encoding="utf-8") as file:  # so that the next line is one of its own
            file.write("\n")
    return last
