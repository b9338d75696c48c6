"""The one kind of error a user can cause: it says what was expected, what was found, where, and what to do."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """A mistake the user can mend; the command line prints it as one message without a traceback."""

    def __init__(self, *, expected: str, found: str, do: str, where: str | Path | None = None) -> None:
        self.expected, self.found, self.where, self.do = expected, found, where, do
        place = f" in {where}" if where is not None else ""
        super().__init__(f"expected {expected}; found {found}{place}. {do[:1].upper()}{do[1:]}.")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.expected, self.found, self.do, self.where)


def _rebuild(expected: str, found: str, do: str, where: str | Path | None) -> UserError:
    """Keep the error whole when a data-loading process hands it to the main one."""
    return UserError(expected=expected, found=found, do=do, where=where)
