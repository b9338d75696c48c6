"""JSONL files line by line, so that one of millions of lines takes the memory of the longest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from segfocal.errors import Fault, UserError
from segfocal.foreign.door import MARKS, OWN, Limits, opened, read_text

_EXPECTED = "a JSONL file"


def json_lines(path: Path, limits: Limits = OWN) -> Iterator[tuple[str, str]]:
    """Yield the lines of a JSONL file that are not blank, each with its place for messages.

    Args:
        path: the file, in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark.
        limits: of its size.

    Raises:
        UserError: no file, no regular one, one that is too large, other bytes.
    """
    for number, (_, line) in enumerate(_lines(path, limits), start=1):
        if line.strip():
            yield line, f"{path}, line {number}"


def placed_lines(path: Path, limits: Limits = OWN, *, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield every line of a file of bytes with its line end, and where it begins: a byte, from 0.

    Args:
        path: the file.
        limits: of its size.
        start: the byte at which a line begins, from which on they are read.

    Raises:
        UserError: no file, no regular one, one that is too large.
    """
    most = int(limits.mebibytes * (1 << 20))
    with opened(path, expected=_EXPECTED) as file:
        file.seek(start)
        while line := file.readline(most + 1 - start):  # not at U+2028 within a string
            if start + len(line) > most:
                raise UserError(
                    expected=f"{_EXPECTED} of at most {limits.mebibytes:g} MiB",
                    found="a larger one",
                    where=path,
                    do="check that it is the right file",
                )
            yield start, line
            start += len(line)
            if not line.endswith(b"\n"):  # the end of the file: what another process adds now is no line of its own
                return


def text_of(line: bytes, path: Path, start: int) -> str:
    """Return a line as text; UserError where it is no UTF-8.

    Args:
        line: the bytes.
        path: its file, for the message.
        start: where the line begins there.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        found = f"bytes that are no UTF-8 from byte {start + error.start} on"
        raise UserError(
            expected=f"{_EXPECTED} in UTF-8", found=found, where=path, do="save it as UTF-8", fault=Fault.DAMAGED
        ) from error


def _lines(path: Path, limits: Limits) -> Iterator[tuple[int, str]]:
    with opened(path, expected=_EXPECTED) as file:
        begins = file.read(4)
    if any(begins.startswith(mark) for mark, _ in MARKS):
        yield from enumerate(read_text(path, expected=_EXPECTED, limits=limits).split("\n"))
        return
    for start, line in placed_lines(path, limits):
        yield start, text_of(line, path, start).removesuffix("\n")
