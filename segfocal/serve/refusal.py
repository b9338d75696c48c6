"""What a server refuses, as a status of HTTP with one line: expected, found, what to do."""

from __future__ import annotations

import errno
from pathlib import Path

from segfocal.errors import Fault, UserError
from segfocal.plain_text import visible

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FAULTS = {Fault.MISSING: 410, Fault.NO_FILE: 410, Fault.TOO_LARGE: 413}


class Refused(UserError):
    """A request that is refused with a status of its own.

    Args:
        status: of HTTP, 400 to 599.
        expected: as of UserError.
        found: likewise.
        do: likewise.
        where: likewise.
        retry_seconds: after which to try again; None where that would not help.
    """

    def __init__(
        self,
        status: int,
        *,
        expected: str,
        found: str,
        do: str,
        where: str | Path | None = None,
        retry_seconds: int | None = None,
    ) -> None:
        super().__init__(expected=expected, found=found, do=do, where=where)
        self.status, self.retry_seconds = status, retry_seconds

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.status, self.expected, self.found, self.do, self.where, self.retry_seconds)


def _rebuild(status: int, expected: str, found: str, do: str, where: Path | None, seconds: int | None) -> Refused:
    return Refused(status, expected=expected, found=found, do=do, where=where, retry_seconds=seconds)


def refused(error: Exception) -> Refused:
    """Return any error as a refusal: a user's with its words, a full disk or memory by name, else a fault of ours."""
    if isinstance(error, Refused):
        return error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return Refused(
                507, expected="room on the disk", found="none left", do="make room there, and do it once more"
            )
        cause = cause.__cause__
    if isinstance(error, UserError):
        status = _FAULTS.get(error.fault, 422)
        return Refused(status, expected=error.expected, found=error.found, do=error.do, where=error.where)
    if isinstance(error, MemoryError):
        return Refused(507, expected="room in memory", found="none left", do="close other sessions")
    found = f"a fault of the server: {type(error).__name__}"
    return Refused(500, expected="an answer", found=found, do="see what the server printed, and report it")


def as_json(refusal: Refused) -> dict[str, str]:
    """Return what the body of a refusal says; no control characters are in it."""
    said = {"error": str(refusal), "expected": refusal.expected, "found": refusal.found, "do": refusal.do}
    return {key: visible(text, lines=False) for key, text in said.items()}
