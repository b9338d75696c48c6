"""The door for JSON and YAML that others may have written: read as data, within limits, or refused in one line.

Nesting is counted before anything is parsed, and aliases and tags of YAML are refused before anything is built, so that
no file of a megabyte becomes gigabytes or a program. `schema.py` then says what a format holds.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import reprlib
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from segfocal.errors import Fault, UserError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DIGITS = 20  # of a whole number: those of 64 bits have no more
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}
_SHORT = 80  # characters of a value that a message shows
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_REPR = reprlib.Repr()
_REPR.maxstring = _SHORT


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a text may be at most.

    Args:
        mebibytes: of the file.
        depth: of lists and objects in each other.
        finite: whether NaN and infinity are refused.
    """

    mebibytes: float = 64
    depth: int = 64
    finite: bool = True


OWN = Limits(mebibytes=1024, finite=False)  # records that segfocal writes, in which a loss may be NaN
SETTINGS = Limits(mebibytes=1, finite=False)  # a config


def read_text(path: Path, *, expected: str, limits: Limits) -> str:
    """Return the text of a regular file in UTF-8, or in UTF-16 and UTF-32 by a byte-order mark, without the mark.

    Args:
        path: the file.
        expected: what it should be, for the message.
        limits: of its size.

    Raises:
        UserError: no file, no regular one, one that is too large, other bytes.
    """
    data = _bytes_of(path, expected, limits)
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        found = f"bytes that are no {error.encoding.upper()} from byte {error.start} on"
        do = "save it as UTF-8"
        raise UserError(expected=f"{expected} in UTF-8", found=found, where=path, do=do, fault=Fault.DAMAGED) from error


def read_json(path: Path, limits: Limits = OWN) -> Any:
    """Return the value of a JSON file; UserError where it is missing, no JSON, or beyond the limits."""
    return parse_json(read_text(path, expected="a JSON file", limits=limits), where=path, limits=limits)


def parse_json(text: str, *, where: str | Path, limits: Limits = OWN) -> Any:
    """Return the value that JSON text holds.

    Args:
        text: the JSON.
        where: its file or place, for the message.
        limits: of its nesting and numbers.

    Raises:
        UserError: no JSON (its fault is DAMAGED), too deep, a number that is too long or not finite, a key twice, half
            of a surrogate pair.
    """
    _check_depth(text, where, limits)
    reader = _Values(where, limits)
    try:
        value = json.loads(
            text,
            parse_int=reader.whole,
            parse_float=reader.number,
            parse_constant=reader.constant,
            object_pairs_hook=reader.mapping,
        )
    except (ValueError, RecursionError) as error:
        raise UserError(
            expected="JSON", found=str(error), where=where, do="mend the file", fault=Fault.DAMAGED
        ) from error
    if re.search(r"\\u[dD][89a-fA-F]", text):
        _check_characters(value, where)
    return value


def read_yaml(path: Path, limits: Limits = SETTINGS) -> Any:
    """Return the value of a YAML file, as OmegaConf resolves it: 1e-3 is a number, a date is text.

    Raises:
        UserError: as `parse_json`, an alias, a tag, more than one document.
    """
    return parse_yaml(read_text(path, expected="a YAML file", limits=limits), where=path, limits=limits)


def parse_yaml(text: str, *, where: str | Path, limits: Limits = SETTINGS) -> Any:
    """Return the value that YAML text holds.

    Args:
        text: the YAML.
        where: its file or place, for the message.
        limits: of its nesting and numbers.

    Raises:
        UserError: as `read_yaml`.
    """
    import yaml

    from segfocal.foreign.yaml_loader import Refusal, check_events, load

    try:
        check_events(text, limits.depth)
        value = load(text, _Values(where, limits))
    except Refusal as error:
        raise UserError(expected=error.expected, found=error.found, where=where, do="mend the file") from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        found = f"{_one_line(getattr(error, 'problem', None) or str(error))}{place}"
        raise UserError(expected="YAML", found=found, where=where, do="mend the file", fault=Fault.DAMAGED) from error
    _check_characters(value, where)
    return value


def shown(value: Any) -> str:
    """Return a value as one short line for a message."""
    return _one_line(_REPR.repr(value))


class _Values:
    """Takes numbers, constants and objects as a parser finds them; refuses what is beyond the limits."""

    def __init__(self, where: str | Path, limits: Limits) -> None:
        self.where, self.limits = where, limits

    def _refuse(self, expected: str, found: str) -> NoReturn:
        raise UserError(expected=expected, found=found, where=self.where, do="mend the file")

    def whole(self, text: str) -> int:
        if len(text) > _DIGITS:
            self._refuse(f"whole numbers of at most {_DIGITS} digits", f"{text[:12]}… of {len(text)}")
        return int(text)

    def number(self, text: str) -> float:
        return self.finite(float(text), text)

    def constant(self, text: str) -> float:
        return self.finite(float(text), text)

    def finite(self, value: float, text: str) -> float:
        if self.limits.finite and not math.isfinite(value):
            self._refuse("finite numbers", text[:20])
        return value

    def mapping(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        known = dict(pairs)
        if len(known) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            self._refuse("each key once in an object", f"{shown(twice)} twice")
        return known


def _bytes_of(path: Path, expected: str, limits: Limits) -> bytes:
    most = int(limits.mebibytes * (1 << 20))
    with opened(path, expected=expected) as file:
        data, size = file.read(most + 1), os.fstat(file.fileno()).st_size
    if len(data) > most:
        expected = f"{expected} of at most {limits.mebibytes:g} MiB"
        found = f"{max(size, len(data)) / (1 << 20):.4g} MiB"
        raise UserError(expected=expected, found=found, where=path, do="check that it is the right file")
    return data


@contextmanager
def opened(path: Path, *, expected: str) -> Iterator[BinaryIO]:
    """Yield a regular file, open to be read; UserError for one that cannot be. A pipe or a device is not waited for."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise _no_file(expected, mode, path)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise _no_file(expected, mode, path)
            yield file
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        missing = isinstance(error, FileNotFoundError)
        found = "no such file" if missing else getattr(error, "strerror", None) or str(error)
        fault = Fault.MISSING if missing else Fault.OTHER
        raise UserError(expected=expected, found=found, where=path, do="check the path", fault=fault) from error


def _no_file(expected: str, mode: int, path: Path) -> UserError:
    return UserError(
        expected=expected, found=kind_of(mode), where=path, do="give the path of a file", fault=Fault.NO_FILE
    )


def kind_of(mode: int) -> str:
    """Return in words what has a mode of `stat` that is no regular file's."""
    return next((name for is_one, name in _KINDS if is_one(mode)), "no regular file")


def _check_depth(text: str, where: str | Path, limits: Limits) -> None:
    """Raise UserError for lists and objects too deep in each other; linear in the text, and without recursion."""
    if text.count("[") + text.count("{") <= limits.depth:
        return
    bare = re.sub(r'"[^"]*"?', "", re.sub(r"\\.", "", text, flags=re.DOTALL))
    if max(accumulate(_steps(re.sub(r"[^\[\]{}]+", "", bare))), default=0) > limits.depth:
        raise UserError(
            expected=f"lists and objects at most {limits.depth} deep in each other",
            found="deeper ones",
            where=where,
            do="check that it is the right file",
        )


def _steps(brackets: Iterable[str]) -> Iterator[int]:
    return map(_STEPS.__getitem__, brackets)


def _check_characters(value: Any, where: str | Path) -> None:
    """Raise UserError for text that cannot be written again: half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False, default=str, skipkeys=True).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        found = f"half of a character, {half!a}"
        raise UserError(expected="whole characters", found=found, where=where, do="mend the file") from error


def _one_line(text: str) -> str:
    line = " ".join(text[: 4 * _SHORT].split())
    return line if len(line) <= _SHORT else line[: _SHORT - 1] + "…"
