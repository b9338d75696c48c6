"""Volumes in and out by the ending of their names: NIfTI, or PNG as a volume of one slice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io import nifti, png

SUFFIXES = (*nifti.SUFFIXES, png.SUFFIX)


def read(path: str | Path) -> Volume:
    """Read an image as float32 with its grid; UserError as `nifti.read` and `png.read`."""
    return png.read(path) if png.is_png(path) else nifti.read(path)


def read_stored(path: str | Path) -> Volume:
    """Read an image as `read` does, integers that need no rescaling as they are stored."""
    return png.read(path) if png.is_png(path) else nifti.read_stored(path)


def read_channels(paths: Sequence[str | Path]) -> Volume:
    """Read an image as `read_stored` does: [x,y,z] of one file, [x,y,z,c] of several, one a channel.

    Raises:
        UserError: as `read`, and for files on different grids.
    """
    volumes = [read_stored(path) for path in paths]
    check_channels([volume.grid for volume in volumes], paths)
    if len(volumes) == 1:
        return volumes[0]
    together = np.stack([volume.array for volume in volumes])
    return Volume(array=np.moveaxis(together, 0, -1), grid=volumes[0].grid)


def check_channels(grids: Sequence[Grid], paths: Sequence[str | Path]) -> None:
    """Raise UserError unless the files of a case's channels lie on one grid."""
    for grid, path in zip(grids[1:], paths[1:], strict=True):
        difference = grids[0].difference(grid)
        if difference:
            raise UserError(
                expected=f"a channel on the grid of {Path(paths[0]).name}",
                found=difference,
                where=path,
                do=f"resample {Path(path).name} onto it, or pair the right files",
            )


def read_labels(path: str | Path) -> Volume:
    """Read a label map as integers with its grid; UserError as `nifti.read_labels` and `png.read_labels`."""
    return png.read_labels(path) if png.is_png(path) else nifti.read_labels(path)


def read_mask(path: str | Path) -> Volume:
    """Read the mask of one object as `read_labels`; of probabilities, fractions in [0,1], one half is inside."""
    if not png.is_png(path):
        volume = nifti.read_stored(path)
        array = volume.array
        if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1 and (array != np.rint(array)).any():
            return Volume(array=(array >= 0.5).astype(np.uint8), grid=volume.grid)
    return read_labels(path)


def read_grid(path: str | Path) -> Grid:
    """Read a volume's grid without its voxels; UserError as `read`."""
    return png.read_grid(path) if png.is_png(path) else nifti.read_grid(path)


def write(path: str | Path, labels: Volume, *, like: str | Path, overwrite: bool = False) -> None:
    """Write a label map in the format and geometry of the image `like`; UserError as `nifti.write` and `png.write`."""
    check_output(path, like=like)
    (png if png.is_png(path) else nifti).write(path, labels, like=like, overwrite=overwrite)


def check_output(path: str | Path, *, like: str | Path) -> None:
    """Raise UserError unless `path` is named as a mask of the image `like` would be: NIfTI of NIfTI, PNG of PNG."""
    path = Path(path)
    if png.is_png(like) and not png.is_png(path):
        raise UserError(
            expected=f"an output ending in {png.SUFFIX} for a PNG input", found=path.name, do="choose such a name"
        )
    if not png.is_png(like):
        nifti.check_suffix(path)
