"""The voxels of a NIfTI file, read by a header that was checked, in memory no larger than they are."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import igzip
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.io.nifti.header import GZIP, RawHeader, TrailingBytesError
from segfocal.memory import check_available

_HALF_A_DIGIT = 2.0**-24  # of a float32, as a share of it
_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_PIECE = 1 << 20  # bytes read at a time
_MOST_AFTER = 64 << 20  # bytes that may follow the voxels; more is no scan but a file made to fill a memory


def read_voxels(header: RawHeader) -> NDArray:
    """Return the voxels as stored, or, where the header rescales them, in float32 rather than nibabel's float64.

    header: as of `read_header`.

    Raises:
        UserError: a scale that is none, or more voxels than memory; before any of it is taken.
        ValueError, EOFError, OSError, zlib.error, MemoryError: as of `readable`, within which it is to be called.
    """
    scale = scale_of(header)
    copied = math.prod(header.shape) * 4 if scale else 0
    sides = "×".join(map(str, header.shape))
    needed = copied + (header.promised if header.packed else 0)  # others are mapped from disk
    check_available(needed, where=header.path, what=f"a volume of {sides} voxels")
    stored = _stored(header)
    if scale is None:
        return stored
    slope, inter = scale
    with np.errstate(over="ignore", invalid="ignore"):  # readers that need finite values check them
        array = stored.astype(np.float32)
        array *= np.float32(slope)
        array += np.float32(inter)
    return array


def scale_of(header: RawHeader) -> tuple[float, float] | None:
    """Return the slope and intercept of a header; None where they change nothing.

    As the standard and nibabel have it, a slope of 0, NaN or infinity means that there is no scale, whatever the
    intercept. ITK takes an intercept that is not finite for 0; CT values would then be wrong by 1024.

    Raises:
        UserError: an intercept that is not finite, or numbers beside which float32 loses the voxels.
    """
    slope, inter = (float(header.fields[f"scl_{name}"]) for name in ("slope", "inter"))
    if slope == 0 or not math.isfinite(slope) or (slope, inter) == (1, 0):
        return None
    whole = header.dtype is not None and header.dtype.kind in "iu"
    lost = whole and math.isfinite(inter) and abs(slope) < abs(inter) * _HALF_A_DIGIT
    beyond = max(abs(slope), abs(inter)) > _LARGEST  # NIfTI-2 keeps both as float64
    if not math.isfinite(inter) or lost or beyond or abs(slope) < _SMALLEST:
        raise UserError(
            expected="a scale that keeps voxels apart" if math.isfinite(inter) else "a scale with a finite intercept",
            found=f"scl_slope {slope:g} and scl_inter {inter:g}",
            where=header.path,
            do="set both in its header (1 and 0 for voxels as they are), or convert the scan again",
        )
    return slope, inter


def _stored(header: RawHeader) -> NDArray:
    """Return the voxels as stored: of a file that is not packed mapped from disk, and only in memory once used."""
    shape, dtype, offset = header.shape, np.dtype(header.dtype), int(header.offset)
    if not header.packed:
        return np.memmap(header.path, dtype=dtype, mode="c", offset=offset, shape=shape, order="F")
    array: NDArray = np.empty(shape, dtype=dtype, order="F")
    with igzip.open(header.path) as file, _trailing_bytes_told(header.path):
        _pass_over(file, offset)
        rest = memoryview(array.reshape(-1, order="F").view(np.uint8).data)
        while rest.nbytes:  # piece by piece: memory is taken only as far as the file goes
            count = file.readinto(rest[:_PIECE])
            if not count:
                raise EOFError(f"{array.nbytes} bytes of voxels expected, {rest.nbytes} of them missing")
            rest = rest[count:]
        _check_end(file)
    return array


def _pass_over(file: BinaryIO, count: int) -> None:
    """Read `count` bytes and forget them."""
    while count > 0:
        got = len(file.read(min(count, _PIECE)))
        if not got:
            raise EOFError("it ends before the voxels")
        count -= got


def _check_end(file: BinaryIO) -> None:
    """Read what follows the voxels: the checksum that tells of damage comes last; ValueError where it does not end."""
    after = 0
    while got := len(file.read(_PIECE)):
        after += got
        if after > _MOST_AFTER:
            raise ValueError(f"more than {_MOST_AFTER >> 20} MiB follow the voxels")


@contextmanager
def _trailing_bytes_told(path: Path) -> Iterator[None]:
    """Raise TrailingBytesError where a gzip error comes of bytes after a complete content, not of a wrong checksum."""
    try:
        yield
    except gzip.BadGzipFile as error:
        if _is_complete(path):
            raise TrailingBytesError(str(error)) from error
        raise


def _is_complete(path: Path) -> bool:
    """Return whether the first gzip content of a file ends with its right checksum and no other one follows it."""
    unpack = zlib.decompressobj(wbits=31)
    try:
        with path.open("rb") as file:
            while not unpack.eof and (packed := file.read(_PIECE)):
                while packed and not unpack.eof:
                    unpack.decompress(packed, _PIECE)
                    packed = unpack.unconsumed_tail
            after = (unpack.unused_data + file.read(len(GZIP)))[: len(GZIP)]
    except zlib.error:
        return False
    return unpack.eof and after != GZIP


def smallest_integer_type(array: NDArray) -> np.dtype:
    """Return the smallest integer dtype that holds every value of `array` (unsigned where none is negative)."""
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    candidates = (np.uint8, np.uint16, np.uint32) if low >= 0 else (np.int8, np.int16, np.int32)
    fitting = [t for t in candidates if np.iinfo(t).min <= low and high <= np.iinfo(t).max]
    return np.dtype(fitting[0] if fitting else np.int64)
