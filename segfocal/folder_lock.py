"""One command at a time in a folder that it fills: a lock that the system lets go of when its process ends, however."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from segfocal.errors import UserError, warn
from segfocal.files import make_folder

LOCK = ".segfocal.lock"  # it stays, where anything else does
_PATIENCE = 1.0  # seconds, in which a process that was just killed is gone


@contextmanager
def only_one(folder: Path, *, doing: str) -> Iterator[None]:
    """Hold a folder while the block lasts, creating it where it is missing.

    Where the file system knows no locks (some network drives) the work goes on with a warning.

    Args:
        folder: which.
        doing: what is done in it, for the message.

    Raises:
        UserError: another process holds it; a folder that cannot be written.
    """
    make_folder(folder)
    lock = FileLock(folder / LOCK, timeout=_PATIENCE, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(
            expected=f"a folder in which nothing else runs, to {doing}",
            found="another segfocal process at work",
            where=folder,
            do="wait until it has ended, or choose another folder",
        ) from error
    except (OSError, NotImplementedError) as error:
        warn(f"{folder} cannot be locked ({error}): run one command at a time there", stacklevel=3)
    try:
        yield
    finally:
        if lock.is_locked and all(path.name.startswith(".segfocal") for path in folder.iterdir()):
            # Nothing was done here. While it is held: who waits for it sees that it is gone, and makes another.
            (folder / LOCK).unlink(missing_ok=True)
        lock.release()
