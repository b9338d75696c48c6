"""The one kind of error a user can cause: it says what was expected, what was found, where, and what to do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from segfocal.plain_text import visible


class Fault(Enum):
    """What an error is about, for code that treats some errors apart from others; the words are for people."""

    OTHER = "other"
    MISSING = "missing"  # a file that is named and not there
    NO_FILE = "no file"  # a folder, a pipe or a device where a file is named
    DAMAGED = "damaged"  # a file that is cut short or whose bytes were changed
    TOO_LARGE = "too large"  # for the memory that there is
    TRAILING_BYTES = "trailing bytes"  # after a complete gzip content, bytes that are not gzip
    NAME_TWICE = "name twice"  # two cases of one name
    FILE_TWICE = "file twice"  # one image listed twice


class UserError(Exception):
    """A mistake the user can mend; the command line prints it as one message without a traceback.

    Args:
        expected: what would have been right.
        found: what is there instead.
        do: how to mend it, as a command ("set data.root").
        where: the file, folder or option it is about; None where the message says it already.
        fault: what it is about, for code; OTHER where no code needs to know.
    """

    def __init__(
        self, *, expected: str, found: str, do: str, where: str | Path | None = None, fault: Fault = Fault.OTHER
    ) -> None:
        self.expected, self.found, self.where, self.do, self.fault = expected, found, where, do, fault
        between = ": " if found.startswith("no such") else " in "  # what is not there holds nothing
        place = f"{between}{where}" if where is not None else ""
        super().__init__(visible(f"expected {expected}; found {found}{place}. {do[:1].upper()}{do[1:]}."))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.expected, self.found, self.do, self.where, self.fault)


class UserNote(UserWarning):
    """What was put right in passing, in one line that a person may want to read; the work goes on."""


def note(text: str) -> None:
    """Tell a person something in passing, once in a process for each text."""
    warnings.warn(visible(text), UserNote, stacklevel=2)


def warn(text: str, category: type[Warning] = UserWarning, *, stacklevel: int = 2) -> None:
    """Warn of something that a person should know; nothing in it, as a file's name, acts on a terminal.

    Args:
        text: what, in one line.
        category: for code that treats some warnings apart.
        stacklevel: as of warnings.warn in the place of this.
    """
    warnings.warn(visible(text), category, stacklevel=stacklevel + 1)


@contextmanager
def noted() -> Iterator[list[str]]:
    """Yield a list to which the notes of the block, which are then not shown, have been added when it ends."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserNote)
        yield texts
    for one in said:
        if issubclass(one.category, UserNote):
            texts.append(str(one.message))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _rebuild(expected: str, found: str, do: str, where: str | Path | None, fault: Fault) -> UserError:
    """Return the same error again in the process that another one hands it to."""
    return UserError(expected=expected, found=found, do=do, where=where, fault=fault)
