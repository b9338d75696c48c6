"""The lines of manifest.jsonl, by which a command over many scans goes on: read, or refused as another's.

A manifest of a million scans has three million lines, a gigabyte. So it is read a line at a time, and of a line no more
is taken than `Heading` holds; the rest is read again where it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter

from segfocal.errors import Fault, UserError
from segfocal.foreign import door
from segfocal.foreign.json_lines import placed_lines, text_of
from segfocal.foreign.schema import Schema, checked

Entry = dict[str, Any]

_BEGINS = '{"name": '  # every line of ours
_DO = "choose another output folder, or move that file away"
_LIMITS = door.Limits(mebibytes=64 * 1024, finite=False)
_PLAIN = re.compile(  # as `line_of` writes it of a scan that has not failed
    rb'\{"name": "([^"\\]*)", "state": "(begun|writing|done)", "input": (\[[^\]\\]*\]), "signature": "(\w*)", '
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


_FORM = TypeAdapter(ManifestEntry)


class Heading(NamedTuple):
    """What is kept in memory of a line.

    Args:
        name: of the scan.
        state: what it says.
        signature: of the bundles and options.
        input: 8 bytes that stand for the state of its files.
        line: 8 bytes that stand for all of it.
        start: the byte of the file at which the line begins.
        end: the byte after it.
    """

    name: str
    state: str
    signature: str
    input: bytes
    line: bytes
    start: int
    end: int


def headings_from(path: Path, start: int = 0, *, growing: bool = False) -> Iterator[Heading]:
    """Yield the headings of the lines of a manifest. A line that a kill cut short is passed over.

    Args:
        path: the file.
        start: the byte at which the first of them begins.
        growing: whether another process writes it: a last line without its end is left for the next time.

    Raises:
        UserError: no regular file, lines that no run of ours wrote.
    """
    for number, (begin, line) in enumerate(placed_lines(path, _LIMITS, start=start), start=1):
        end = begin + len(line)
        if plain := _PLAIN.fullmatch(line):
            state, signature = plain[2].decode(), plain[4].decode()
            name = text_of(plain[1], path, begin)
            yield Heading(name, state, signature, _digest(plain[3]), _digest(line), begin, end)
        elif line.strip() and (line.endswith(b"\n") or not growing):
            after = f" after byte {start}" if start else ""
            entry = _parsed(line, path, begin, f"{path}, line {number}{after}")
            if entry is not None:
                yield heading_of(entry, line, begin)


def heading_of(entry: Entry, line: bytes, start: int) -> Heading:
    """Return the heading of a line that begins at a byte of its file."""
    short = (short_of(entry["input"]), _digest(line))
    return Heading(entry["name"], entry["state"], entry["signature"], *short, start, start + len(line))


def entry_at(path: Path, start: int, name: str) -> Entry:
    """Return the line of a scan that begins at a byte; UserError where that is another one by now."""
    with path.open("rb") as file:
        file.seek(start)
        line = file.readline()
    entry = _parsed(line, path, start, f"{path}, byte {start}")
    if entry is None or entry["name"] != name:
        raise UserError(
            expected="the lines that were there", found="others", where=path, do="leave the file to one command"
        )
    return entry


def line_of(entry: Entry) -> bytes:
    """Return a line with its end."""
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


def append(path: Path, data: bytes) -> int:
    """Add bytes to the end of a file, on disk before this returns; return where they begin."""
    with path.open("ab") as file:
        start = file.tell()
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return start


def end_last_line(path: Path) -> None:
    """End the last line of a manifest that a kill cut short, so that the next one is one of its own."""
    with path.open("rb+") as file:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.write(b"\n")


def short_of(value: Any) -> bytes:
    """Return 8 bytes that stand for a JSON value."""
    return _digest(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def _parsed(line: bytes, path: Path, start: int, where: str) -> Entry | None:
    """Return what a line says; None of one of ours that a kill cut short."""
    text = text_of(line, path, start)
    try:
        entry = door.parse_json(text, where=where)
    except UserError as error:
        if error.fault is Fault.DAMAGED and (text.startswith(_BEGINS) or _BEGINS.startswith(text.rstrip("\n"))):
            return None
        raise UserError(expected="a manifest of ours", found=error.found, where=where, do=_DO) from error
    checked(entry, _FORM, where=where, do=_DO)
    if entry["state"] == "failed" and entry.get("message") is None:
        raise UserError(expected="why a scan failed", found="no message", where=where, do=_DO)
    return entry
