"""Probability maps read slab by slab, so that a map larger than memory can be judged."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.grid import Grid
from segfocal.io.nifti.geometry import grid_of_shape
from segfocal.io.nifti.header import read_header
from segfocal.io.nifti.voxels import scale_of
from segfocal.memory import check_available

_SLAB_BYTES = 64 << 20
_FLOATS = 16  # bytes that a voxel takes while its slab is read and checked


@dataclass(frozen=True, kw_only=True)
class ProbabilityMaps:
    """A NIfTI file of probabilities in [0,1], whose voxels are read slab by slab.

    Args:
        path: the file, [x,y,z] or [x,y,z,k].
        grid: of one map.
        maps: how many: k, or 1.
        dtype: of a stored voxel.
        offset: the byte of the unpacked content where voxels begin.
        slope: what a stored value is multiplied by.
        intercept: what is added then.
    """

    path: Path
    grid: Grid
    maps: int
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float

    @property
    def thick(self) -> int:
        """Slices that are read at a time."""
        x, y, depth = self.grid.shape
        return min(depth, max(1, _SLAB_BYTES // (x * y * self.dtype.itemsize)))

    @property
    def slab_voxels(self) -> int:
        """The voxels that are read at a time."""
        return self.grid.shape[0] * self.grid.shape[1] * self.thick

    def slabs(self) -> Iterator[tuple[int, slice, NDArray[np.float32]]]:
        """Yield the number of a map, slices z of it and their values [x,y,dz], in the order of the file.

        Raises:
            UserError: a value that is not in [0,1], a file shorter than its header promises.
        """
        x, y, depth = self.grid.shape
        thick = self.thick
        with _opened(self.path) as file:
            file.seek(self.offset)
            for k in range(self.maps):
                for start in range(0, depth, thick):
                    stop = min(start + thick, depth)
                    count = x * y * (stop - start)
                    raw = file.read(count * self.dtype.itemsize)
                    if len(raw) < count * self.dtype.itemsize:
                        raise _cut_short(self.path, k, start)
                    values = np.frombuffer(raw, self.dtype).reshape((x, y, stop - start), order="F")
                    yield k, slice(start, stop), self._checked(values)

    def _checked(self, raw: NDArray) -> NDArray[np.float32]:
        values = raw.astype(np.float32)
        if self.slope != 1 or self.intercept != 0:
            values = values * np.float32(self.slope) + np.float32(self.intercept)
        low, high = float(values.min()), float(values.max())
        if not (low >= -1e-6 and high <= 1 + 1e-6):  # NaN fails too
            raise UserError(
                expected="probabilities from 0 to 1",
                found=f"values from {low:.4g} to {high:.4g}",
                where=self.path,
                do="give probabilities rather than logits or labels",
            )
        return np.clip(values, 0, 1)


def open_maps(path: str | Path) -> ProbabilityMaps:
    """Read the header of probability maps; UserError for a missing or damaged file or other than 3 or 4 axes."""
    path = Path(path)
    header = read_header(path)
    shape, dtype = header.shape, header.dtype
    if len(shape) not in (3, 4) or 0 in shape or dtype is None or dtype.kind not in "iuf":
        raise UserError(
            expected="probability maps [x,y,z] or [x,y,z,k] of real numbers",
            found=f"shape {shape}, {header.type_name}",
            where=path,
            do="save one map a structure along the fourth axis",
        )
    slope, inter = scale_of(header) or (1.0, 0.0)
    maps = ProbabilityMaps(
        path=path,
        grid=grid_of_shape((shape[0], shape[1], shape[2]), header, path),
        maps=shape[3] if len(shape) == 4 else 1,
        dtype=np.dtype(dtype),
        offset=int(header.offset),
        slope=slope,
        intercept=inter,
    )
    check_available(_FLOATS * maps.slab_voxels, where=path, what=f"{maps.thick} slices of {shape[0]}×{shape[1]} pixels")
    return maps


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with _readable(path), gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        yield file


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, OSError) as error:
        found = f"one that is damaged or may not be read ({str(error)[:100].rstrip('.')})"
        raise UserError(expected="a whole NIfTI file", found=found, where=path, do="write it again") from error


def _cut_short(path: Path, k: int, z: int) -> UserError:
    return UserError(
        expected="a whole NIfTI file", found=f"an end within map {k}, slice {z}", where=path, do="write it again"
    )
