"""Probability maps read slab by slab, so that a map larger than memory can be judged."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from segfocal.errors import UserError
from segfocal.grid import Grid
from segfocal.io import nifti

_SLAB_BYTES = 64 << 20


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

    def slabs(self) -> Iterator[tuple[int, slice, NDArray[np.float32]]]:
        """Yield the number of a map, slices z of it and their values [x,y,dz], in the order of the file.

        Raises:
            UserError: a value that is not in [0,1], a file shorter than its header promises.
        """
        x, y, depth = self.grid.shape
        thick = max(1, _SLAB_BYTES // (x * y * self.dtype.itemsize))
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
    nifti.check_suffix(path)
    with _readable(path):
        image = nib.load(path)
    shape = tuple(int(size) for size in image.shape)
    if len(shape) not in (3, 4) or 0 in shape:
        raise UserError(
            expected="probability maps [x,y,z] or [x,y,z,k]",
            found=f"shape {shape}",
            where=path,
            do="save one map a structure along the fourth axis",
        )
    return ProbabilityMaps(
        path=path,
        grid=Grid(shape=(shape[0], shape[1], shape[2]), affine=np.asarray(image.affine, dtype=np.float64)),
        maps=shape[3] if len(shape) == 4 else 1,
        dtype=np.dtype(image.dataobj.dtype),
        offset=int(image.dataobj.offset),
        slope=float(image.dataobj.slope),
        intercept=float(image.dataobj.inter),
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with _readable(path), gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        yield file


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(expected="a NIfTI file", found="no such file", where=path, do="check the path") from error
    except (ImageFileError, HeaderDataError, EOFError, zlib.error, OSError) as error:
        found = f"one that is damaged or may not be read ({str(error)[:100].rstrip('.')})"
        raise UserError(expected="a whole NIfTI file", found=found, where=path, do="write it again") from error


def _cut_short(path: Path, k: int, z: int) -> UserError:
    return UserError(
        expected="a whole NIfTI file", found=f"an end within map {k}, slice {z}", where=path, do="write it again"
    )
