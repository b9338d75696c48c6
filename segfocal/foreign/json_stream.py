"""A JSONL file that grows, read from a place on in memory for one line; another process may append to it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from segfocal.errors import Fault, UserError

_LONGEST = 16 << 20  # bytes of a line


class Line(NamedTuple):
    """A line of a file.

    Args:
        text: without its end.
        start: the byte at which it begins.
        end: the byte after it and its end.
        number: of the line, from 1, counted from the byte at which reading began.
        whole: whether its end is there; if not, it is being written, or a kill cut it short.
    """

    text: str
    start: int
    end: int
    number: int
    whole: bool


def lines_from(path: Path, start: int = 0) -> Iterator[Line]:
    """Yield the lines of a regular file that are not blank, from a byte on.

    Raises:
        UserError: a line that is too long, other bytes than UTF-8.
    """
    with path.open("rb") as file:
        file.seek(start)
        number = 0
        while data := file.readline(_LONGEST):
            end, number = start + len(data), number + 1
            whole = data.endswith(b"\n")
            if not whole and len(data) == _LONGEST:
                raise UserError(
                    expected="lines of JSON", found="one of 16 MiB or more", where=path, do="choose another file"
                )
            try:
                text = data.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                if whole:
                    raise UserError(
                        expected="a JSONL file in UTF-8",
                        found=f"bytes that are no UTF-8 from byte {start + error.start} on",
                        where=path,
                        do="save it as UTF-8",
                        fault=Fault.DAMAGED,
                    ) from error
                text = data[: error.start].decode("utf-8")
            if text.strip():
                yield Line(text, start, end, number, whole)
            start = end
