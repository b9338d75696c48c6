"""DICOM series in: a folder of slices, or one file of many, read as a volume in the scan's own units."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io.dicom.file_kinds import extra, readable, whole
from segfocal.io.dicom.series import Series, read_series
from segfocal.io.dicom.slices import Slice
from segfocal.memory import check_available

_THREADS = 4  # decoding leaves Python's lock
_KEPT, _DECODING = 4, 16  # bytes a voxel, and more while its slice is decoded and rescaled
_INT32 = 2**31 - 1


def read(path: str | Path) -> Volume:
    """Read a series as float32 with its grid, rescaled as its headers say; UserError as `read_stored`."""
    scan = read_stored(path)
    return Volume(array=scan.array.astype(np.float32, copy=False), grid=scan.grid)


def read_stored(path: str | Path) -> Volume:
    """Read a series as `read` does, but as int16 (int32 if need be) where slopes are 1 and intercepts whole.

    Pixels that are stored as real numbers, or that int32 cannot hold, are float32.

    Uncompressed, RLE, JPEG 2000, JPEG-LS and baseline JPEG; other compressions if a plugin of pydicom reads them.

    Raises:
        UserError: as `read_series`, and where pixels are damaged or cannot be decoded.
    """
    series = read_series(path)
    integers = all(one.slope == 1 and one.intercept.is_integer() for one in series.slices)
    whole(series.files[0])  # refuses a header that promises more than its file before one that only a giant could read
    _check_memory(series)
    array: NDArray = np.zeros(0, dtype=np.int16 if integers else np.float32)
    with ThreadPoolExecutor(_THREADS) as pool:
        for places, values in pool.map(lambda file: _decoded(file, series, integers=integers), series.files):
            if not array.size:  # not before a slice proved to be of the size that headers promise
                array = np.zeros(series.grid.shape, dtype=array.dtype, order="F")
            if not np.can_cast(values.dtype, array.dtype) and not _fits(values, array.dtype):
                array = array.astype(np.int32 if values.dtype.kind == "i" else np.float32)
            array[:, :, places] = values
    return Volume(array=array, grid=series.grid)


def read_grid(path: str | Path) -> Grid:
    """Read the grid of a series from its headers; UserError as `read_series`."""
    return read_series(path).grid


def _check_memory(series: Series) -> None:
    """Raise UserError unless the voxels that headers promise fit into memory, and what is decoded at a time."""
    columns, rows, count = series.grid.shape
    files = len(series.files)
    at_once = count if files < count else min(files, _THREADS)
    needed = columns * rows * (count * _KEPT + at_once * _DECODING)
    check_available(needed, where=series.path, what=f"a series of {columns}×{rows}×{count} voxels")


def _decoded(file: Path, series: Series, *, integers: bool) -> tuple[list[int], NDArray]:
    """Return which slices of a series a file holds and their values [column,row,slice]."""
    places = [i for i, one in enumerate(series.slices) if one.path == file]
    pixels, elements = extra("pydicom.pixels"), whole(file)
    with readable(file):
        wanted = [series.slices[i].frame for i in places]
        frames = [
            _stored_bits(frame, elements, file)
            for frame in pixels.iter_pixels(elements, indices=wanted, correct_unused_bits=False)
        ]
    rescaled = [_rescaled(frame, series.slices[i], integers=integers) for i, frame in zip(places, frames, strict=True)]
    return places, np.stack(rescaled, axis=-1)


def _fits(values: NDArray, kind: np.dtype) -> bool:
    """Return whether values that were rescaled can be kept as a type."""
    if values.dtype.kind == "f" or kind.kind == "f":
        return kind.kind == "f"
    return bool(values.min() >= np.iinfo(kind).min and values.max() <= np.iinfo(kind).max)


def _stored_bits(pixels: NDArray, elements: Any, path: Path) -> NDArray:
    """Return the numbers in a pixel's stored bits, the highest of which is High Bit; others may hold an overlay.

    pydicom passes over High Bit, and takes all bits of a JPEG 2000 or JPEG-LS pixel (DICOM PS3.5, 8.1.1).
    """
    if pixels.dtype.kind == "f":
        return pixels
    held, stored = 8 * pixels.dtype.itemsize, int(elements.BitsStored)
    high = int(elements.get("HighBit", stored - 1))
    compressed = elements.file_meta.TransferSyntaxUID.is_encapsulated and not _is_run_length(elements)
    if not stored - 1 <= high < max(held, stored) or (compressed and high != stored - 1):
        raise UserError(
            expected=f"{stored} bits stored below a high bit of {stored - 1}",
            found=f"a high bit of {high}",
            where=path,
            do="export the series again, uncompressed",
        )
    if stored >= held:
        return pixels
    return np.right_shift(np.left_shift(pixels, held - 1 - high), held - stored)


def _is_run_length(elements: Any) -> bool:
    return elements.file_meta.TransferSyntaxUID == extra("pydicom.uid").RLELossless


def _rescaled(pixels: NDArray, one: Slice, *, integers: bool) -> NDArray:
    """Return the values [column,row] of pixels [row,column]."""
    if pixels.shape != one.shape or pixels.dtype.kind not in "iuf":
        raise UserError(
            expected=f"{one.shape} pixels of one number each",
            found=f"{pixels.shape} of {pixels.dtype}",
            where=one.path,
            do="export the series again",
        )
    if integers and pixels.dtype.kind != "f":
        if pixels.dtype.itemsize <= 2 and abs(one.intercept) <= _INT32 // 2:
            return pixels.T.astype(np.int32) + np.int32(one.intercept)
        values = pixels.T.astype(np.int64) + int(one.intercept)
        if np.abs(values).max() <= _INT32:
            return values.astype(np.int32)
    return pixels.T.astype(np.float32) * np.float32(one.slope) + np.float32(one.intercept)
