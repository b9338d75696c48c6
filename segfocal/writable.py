"""Whether a file could be made in a place, asked before the work whose result it is to hold."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from segfocal.errors import UserError


def check_writable(path: Path) -> None:
    """Raise UserError unless the user may make a file at `path`, in a folder that is there or is yet to be made.

    Nothing is written. Where this cannot be told without, as on some network drives, whoever writes says so.
    """
    folder = os.path.realpath(path.parent)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise unwritable(Path(folder), OSError(errno.EACCES, os.strerror(errno.EACCES)))


def unwritable(path: Path, error: Exception) -> UserError:
    """Return the error about a place that cannot be written to, from the one of the system or of a library."""
    found = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UserError(expected="a place to write to", found=found, where=path, do="choose another folder")
