"""DICOM series in: a folder of slices, or one file of many, read as a volume in the scan's own units."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io.dicom.file_kinds import extra, readable
from segfocal.io.dicom.series import Series, read_series
from segfocal.io.dicom.slices import Slice

_THREADS = 4  # decoding leaves Python's lock
_INT16 = 32767


def read(path: str | Path) -> Volume:
    """Read a series as float32 with its grid, rescaled as its headers say; UserError as `read_stored`."""
    scan = read_stored(path)
    return Volume(array=scan.array.astype(np.float32, copy=False), grid=scan.grid)


def read_stored(path: str | Path) -> Volume:
    """Read a series as `read` does, but as int16 (int32 if need be) where slopes are 1 and intercepts whole.

    Uncompressed, RLE, JPEG 2000, JPEG-LS and baseline JPEG; other compressions if a plugin of pydicom reads them.

    Raises:
        UserError: as `read_series`, and where pixels are damaged or cannot be decoded.
    """
    series = read_series(path)
    integers = all(one.slope == 1 and one.intercept.is_integer() for one in series.slices)
    array: NDArray = np.zeros(0, dtype=np.int16 if integers else np.float32)
    with ThreadPoolExecutor(_THREADS) as pool:
        for places, values in pool.map(lambda file: _decoded(file, series, integers=integers), series.files):
            if not array.size:  # not before a slice proved to be of the size that headers promise
                array = np.zeros(series.grid.shape, dtype=array.dtype, order="F")
            if array.dtype == np.int16 and not (values.min() >= -_INT16 - 1 and values.max() <= _INT16):
                array = array.astype(np.int32)
            array[:, :, places] = values
    return Volume(array=array, grid=series.grid)


def read_grid(path: str | Path) -> Grid:
    """Read the grid of a series from its headers; UserError as `read_series`."""
    return read_series(path).grid


def _decoded(file: Path, series: Series, *, integers: bool) -> tuple[list[int], NDArray]:
    """Return which slices of a series a file holds and their values [column,row,slice]."""
    places = [i for i, one in enumerate(series.slices) if one.path == file]
    pixels = extra("pydicom.pixels")
    with readable(file):
        elements = extra("pydicom").dcmread(file)
        frames = list(pixels.iter_pixels(elements, indices=[series.slices[i].frame for i in places]))
    rescaled = [_rescaled(frame, series.slices[i], integers=integers) for i, frame in zip(places, frames, strict=True)]
    return places, np.stack(rescaled, axis=-1)


def _rescaled(pixels: NDArray, one: Slice, *, integers: bool) -> NDArray:
    """Return the values [column,row] of pixels [row,column]."""
    if pixels.shape != one.shape or pixels.dtype.kind not in "iuf":
        raise UserError(
            expected=f"{one.shape} pixels of one number each",
            found=f"{pixels.shape} of {pixels.dtype}",
            where=one.path,
            do="export the series again",
        )
    if integers:
        return pixels.T.astype(np.int32) + np.int32(one.intercept)
    return pixels.T.astype(np.float32) * np.float32(one.slope) + np.float32(one.intercept)
