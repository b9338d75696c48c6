"""Arrays in a temporary file: results too large for memory grow there, beside the output, until they are written."""

from __future__ import annotations

import mmap
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from segfocal.errors import UserError


@contextmanager
def scratch_array(folder: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Iterator[NDArray]:
    """Yield an array of zeros (first axis fastest) in a hidden file of `folder`, which is gone afterwards.

    Where the system allows, the file has no name while it is in use, so not even a kill leaves it behind.

    Raises:
        UserError: no room for it, or a folder that cannot be written to.
    """
    path = folder / f".{uuid.uuid4().hex[:8]}.scratch"
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        with path.open("wb") as file:
            _reserve(file.fileno(), size)
        array: NDArray = np.memmap(path, dtype=dtype, mode="r+", shape=shape, order="F")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UserError(
            expected=f"room for {size / 2**20:.0f} MiB",
            found=error.strerror or str(error),
            where=folder,
            do="make room, or choose another folder",
        ) from error
    with suppress(PermissionError):  # Windows: not while it is open
        path.unlink()
    try:
        yield array
    finally:
        path.unlink(missing_ok=True)


def release(array: NDArray) -> None:
    """Give back the memory that a scratch array's pages take; its file keeps what they hold. Others stay as they are.

    The system writes it to the disk when it needs the room. To wait for that would cost a disk's time for a file that
    is thrown away. A file that was opened for reading keeps its pages: what was changed there is in memory alone.
    """
    base = array
    while isinstance(base, np.ndarray) and base.base is not None:
        if isinstance(base.base, mmap.mmap):
            if isinstance(base, np.memmap) and base.mode == "r+" and hasattr(mmap, "MADV_DONTNEED"):
                base.base.madvise(mmap.MADV_DONTNEED)
            return
        base = base.base


def _reserve(descriptor: int, size: int) -> None:
    """Take the room now: a full disk found while writing to mapped memory would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)
