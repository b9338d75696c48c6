"""Scans and masks as programs have them: paths, images of nibabel's, arrays with an affine, volumes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segfocal.errors import UserError
from segfocal.grid import Volume
from segfocal.io import nifti, volumes

_KINDS = "a path, paths of channels, a nibabel image, an array with affine=, or a segfocal.Volume"


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenScan:
    """A scan that a program has given.

    Args:
        volume: its voxels and grid.
        back: returns a label map on that grid as the kind of thing that the scan was: a volume for a volume, an array
            for an array, an image of nibabel's for such an image or a path.
    """

    volume: Volume
    back: Callable[[Volume], Any]


def scan_of(scan: Any, affine: ArrayLike | None = None) -> GivenScan:
    """Return a scan with its grid, read where it is a path.

    Args:
        scan: a path (NIfTI, PNG, a folder of DICOM slices), a path for each channel, an image of nibabel's, a volume,
            or an array [x,y,z], [x,y,z,c] of several channels.
        affine: of an array, [4,4] from voxel indices to world mm; None of anything else, which knows its own.

    Raises:
        UserError: none of these, an array without an affine, and whatever reading raises.
    """
    if isinstance(scan, np.ndarray):
        volume = volume_of_array(scan, affine)
        return GivenScan(volume=volume, back=lambda mask: mask.array)
    if affine is not None:
        raise UserError(expected="affine= with an array alone", found=f"one with {_kind(scan)}", do="leave it out")
    if isinstance(scan, Volume):
        return GivenScan(volume=scan, back=lambda mask: mask)
    if nifti.is_image(scan):
        return GivenScan(volume=nifti.volume_of(scan), back=lambda mask: nifti.image_on(mask, scan))
    paths = paths_of(scan)
    if paths is None:
        raise UserError(expected=f"a scan: {_KINDS}", found=_kind(scan), do="give one of these")
    volume = volumes.read_channels(paths)
    like = paths[0] if nifti.is_nifti(paths[0]) else volume.grid
    return GivenScan(volume=volume, back=lambda mask: nifti.image_like(mask, like=like))


def labels_of(mask: Any, affine: ArrayLike | None = None) -> Volume:
    """Return a label map as whole numbers with its grid, read where it is a path.

    Args:
        mask: as of `scan_of`, but of one channel; booleans count as 0 and 1.
        affine: of an array.

    Raises:
        UserError: as `scan_of`, and for voxels that are no whole numbers.
    """
    paths = None if isinstance(mask, np.ndarray) else paths_of(mask)
    if paths is not None and len(paths) == 1:
        return volumes.read_labels(paths[0])
    volume = scan_of(mask, affine).volume
    whole = np.rint(volume.array)
    if volume.array.ndim != 3 or (volume.array != whole).any():
        raise UserError(
            expected="a label map [x,y,z] of whole numbers",
            found=f"shape {volume.array.shape}, values of {volume.array.dtype}",
            do="give the label map rather than an image or probabilities",
        )
    whole = whole.astype(np.int64)
    return Volume(array=whole.astype(nifti.smallest_integer_type(whole)), grid=volume.grid)


def volume_of_array(array: NDArray, affine: ArrayLike | None) -> Volume:
    """Return an array with its affine as a volume; UserError for one without, or values that are no scan's."""
    if affine is None:
        raise UserError(
            expected="affine= for an array: [4,4], from voxel indices to world mm",
            found="none",
            do="give the scan's own, or numpy.diag([*spacing_mm, 1]) where only the spacing is known",
        )
    return nifti.volume_at(array, affine)


def paths_of(scan: Any) -> list[Path] | None:
    """Return the path, or those of the channels; None where a scan is no path."""
    if isinstance(scan, str | os.PathLike):
        return [Path(scan).expanduser()]
    is_list = isinstance(scan, Sequence) and len(scan) > 0
    if is_list and all(isinstance(one, str | os.PathLike) for one in scan):
        return [Path(one).expanduser() for one in scan]
    return None


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
