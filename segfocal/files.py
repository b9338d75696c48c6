"""Files that appear whole or not at all: text, JSON and tables; and checks of a file before it is used."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from segfocal.errors import Fault, UserError
from segfocal.foreign import door
from segfocal.plain_names import folded
from segfocal.writable import check_writable, unwritable

_RECORD = ".segfocal_unfinished.json"  # names of the files that a running command has claimed in a folder
_COMMANDS: list[dict[Path, set[str]]] = []  # names claimed by folder, of the command that runs in this process
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.(.+)", re.DOTALL)  # what `_temporary_of` makes of a name
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # also the signs of full width
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; when the block ends well it is flushed and renamed to `path`.

    When the block fails the temporary file is removed and `path` stays as it was. The temporary name keeps the
    suffixes, by which writers choose a format.
    """
    make_folder(path.parent)
    temporary = _temporary_of(path)
    try:
        try:
            yield temporary
            give_usual_mode(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except (OSError, SafetensorError) as error:  # safetensors wraps a full disk
            raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_of(path: Path) -> Path:
    return path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")


def remove_unfinished(paths: Iterable[Path]) -> None:
    """Take away what killed writers left beside files: their temporary ones. Nobody may be writing these files now."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(path.name)
    for folder, ours in names.items():
        with suppress(OSError):
            left = [found.name for found in os.scandir(folder) if found.name.startswith(".")]
            for name in left:
                if (match := _TEMPORARY.fullmatch(name)) and match[1] in ours:
                    (folder / name).unlink(missing_ok=True)


def give_usual_mode(path: Path) -> None:
    """Give a file the permissions of any new file in its folder, by the user's umask; safetensors writes with 0600."""
    match = _TEMPORARY.fullmatch(path.name)
    probe = _temporary_of(path.with_name(match[1]) if match else path)  # named so that it goes when a kill leaves it
    try:
        probe.touch()
        usual = stat.S_IMODE(probe.stat().st_mode)
    finally:
        probe.unlink(missing_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != usual:
        path.chmod(usual)


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all."""
    with written_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value, indented, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; UserError when it is missing, no regular file, not JSON, or beyond the limits of our own."""
    return door.read_json(path, door.OWN)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] | None = None) -> None:
    """Write rows as CSV with a header line, whole or not at all.

    Args:
        path: the file.
        rows: values by column; what a row lacks stays empty, what has no column is left out.
        columns: in their order; None takes those of the last of the longest rows.
    """
    named = list(columns if columns is not None else max(reversed(rows), key=len))
    with written_beside(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([_cell(name) for name in named])
        writer.writerows([_cell(row.get(name, "")) for name in named] for row in rows)


def _cell(value: Any) -> Any:
    """Return text that a spreadsheet would run as a formula behind an apostrophe, anything else as it is.

    Source: OWASP, "CSV Injection". A number is none, also where it is text, as -3.5.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def check_regular(path: Path, *, expected: str = "a file") -> None:
    """Raise UserError for what is there and is no regular file: a pipe or a device may have no end, or never begin.

    One that is not there passes: who opens it says so. Nothing is opened.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # of a name with a NUL, too, the one who opens it tells
        return
    if not stat.S_ISREG(mode):
        found = door.kind_of(mode)
        raise UserError(expected=expected, found=found, where=path, do="give the path of a file", fault=Fault.NO_FILE)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def make_folder(path: Path) -> None:
    """Create a folder and its parents; UserError when that cannot be done or nothing can be written there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{uuid.uuid4().hex[:8]}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise unwritable(path, error) from error
    _note_claim(path)


def check_new(path: Path, *, overwrite: bool, switch: str = "overwrite=true") -> None:
    """Raise UserError when `path` exists and may not be replaced, which `switch` would allow, or cannot be written."""
    check_writable(path)
    there = os.path.exists(os.path.realpath(path))  # also of "new/../a", whose first folder is yet to be made
    if there and not overwrite and path.name not in _unfinished(path.parent):
        raise UserError(
            expected="an output that does not exist yet",
            found="an existing file",
            where=path,
            do=f"choose another output or add {switch}",
        )


def claim(
    written: Iterable[Path],
    read: Iterable[Path],
    *,
    overwrite: bool,
    folders: Iterable[Path] = (),
    switch: str = "overwrite=true",
) -> None:
    """Raise UserError unless a command may write all that it is going to write; called before its work begins.

    Files that a command claimed and was killed before its end are its own: the same command replaces them.

    Args:
        written: every file that may be written.
        read: every file that is read; none of them is ever replaced.
        overwrite: whether files that are there already may be replaced.
        folders: those that are filled with files of other names; no file that is read may lie in one.
        switch: the option that lets files be replaced, for the message.
    """
    listed = list(written)
    check_apart(listed, read, folders=folders)
    for path in listed:
        check_new(path, overwrite=overwrite, switch=switch)
    for path in listed:
        for claimed in _COMMANDS[-1:]:
            claimed.setdefault(path.parent, set()).add(path.name)


@contextmanager
def claims_recorded() -> Iterator[None]:
    """Within a command: a folder that it fills says which files are its own, after a kill too, until it ends well."""
    claimed: dict[Path, set[str]] = {}
    _COMMANDS.append(claimed)
    done = False
    try:
        yield
        done = True
    finally:
        _COMMANDS.pop()
        for folder, names in claimed.items():
            if done or not any((folder / name).exists() for name in names):
                (folder / _RECORD).unlink(missing_ok=True)


def _note_claim(folder: Path) -> None:
    """Leave the record in a folder that a command begins to fill."""
    for claimed in _COMMANDS[-1:]:
        names = claimed.get(folder)
        if names and not (folder / _RECORD).exists():
            (folder / _RECORD).write_text(json.dumps(sorted(names)))


def _unfinished(folder: Path) -> set[str]:
    """Return the names of the files that a command which was killed had claimed in a folder."""
    try:
        return set(map(str, json.loads((folder / _RECORD).read_text())))
    except (OSError, ValueError, TypeError, RecursionError):
        return set()


def check_apart(written: Iterable[Path], read: Iterable[Path], *, folders: Iterable[Path] = ()) -> None:
    """Raise UserError when a file to be written is one that is read, or when two to be written are one file.

    Links, "..", hard links and names that the file system takes for the same are seen through. Nothing need exist yet.
    No file that is read may lie in one of `folders`, which are filled with files of other names.
    """
    inputs = {place for path in read for place in _places(path)}
    above = {str(parent) for place in inputs if isinstance(place, str) for parent in Path(place).parents}
    for folder in folders:
        if os.path.realpath(folder) in above or not inputs.isdisjoint(_places(folder)):
            raise _in_place(folder, "a folder that is written to, with a file in it that is read")
    claimed: dict[str, Path] = {}
    for path in written:
        if not inputs.isdisjoint(_places(path)):
            raise _in_place(path, "the same file as input and output")
        real = Path(os.path.realpath(path))
        other = claimed.setdefault(folded(str(real)), real)
        if other is not real and (other == real or _is_one_name(other, real)):
            raise UserError(
                expected="a file for each output",
                found=f"{other.name} for two of them",
                where=path,
                do="rename one of the inputs or structures, or segment them into two folders",
            )


def _in_place(path: Path, found: str) -> UserError:
    return UserError(
        expected="outputs beside the inputs, not in their place",
        found=found,
        where=path,
        do="choose another output (the report and the files of structures are named after it)",
    )


def _places(path: Path) -> set[str | tuple[int, int]]:
    """Return what tells a file from others: where it really lies and, when it is there, its number on its disk."""
    if "\0" in str(path):
        raise UserError(expected="a path", found=f"one with a null character, {str(path)!r}", do="rename the file")
    real = os.path.realpath(path)  # also of new/../x, which is not there as long as new is not
    try:
        state = os.stat(real)
    except OSError:
        return {real}
    return {real, (state.st_dev, state.st_ino)}


def _is_one_name(first: Path, second: Path) -> bool:
    """Ask the file system whether two paths that are the same when folded are the same to it."""
    folder = next(parent for parent in first.parents if parent.is_dir())
    one, other = next((a, b) for a, b in zip(first.parts, second.parts, strict=True) if a != b)
    hidden = f".{uuid.uuid4().hex[:8]}"
    probe = folder / f"{hidden}{one}"
    try:
        probe.touch()
        return (folder / f"{hidden}{other}").exists()
    except OSError:  # told by whoever writes there
        return False
    finally:
        probe.unlink(missing_ok=True)
