"""The one kind of error a user can cause: it says what was expected, what was found, where, and what to do."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from segfocal.plain_text import visible


class Fault(Enum):
    """What an error is about, for code that treats some errors apart from others; the words are for people."""

    OTHER = "other"
    MISSING = "missing"  # a file that is named and not there
    DAMAGED = "damaged"  # a file that is cut short or whose bytes were changed
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


def _rebuild(expected: str, found: str, do: str, where: str | Path | None, fault: Fault) -> UserError:
    """Return the same error again in the process that another one hands it to."""
    return UserError(expected=expected, found=found, do=do, where=where, fault=fault)
