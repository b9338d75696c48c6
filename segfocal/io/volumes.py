"""Volumes in and out: what reads or writes a file is chosen by its name or, of DICOM, by its content.

A volume is a NIfTI file, a PNG (of one slice), or a folder of DICOM slices.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segfocal.errors import UserError, note
from segfocal.grid import Grid, Volume
from segfocal.io import dicom, nifti, png
from segfocal.io.dicom import labels as dicom_labels
from segfocal.io.dicom import seg_writer
from segfocal.io.dicom.file_kinds import SUFFIX as DICOM_SUFFIX
from segfocal.io.dicom.file_kinds import image_files, is_dicom, is_label, split_address

_ROUNDING_MM = 0.01  # less is what rounding in headers leaves
SUFFIXES = (*nifti.SUFFIXES, png.SUFFIX)


def stem(path: Path) -> str:
    """Return a file's name without .nii.gz, .nii or .png in any case, of other files without the last ending."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), path.suffix)
    return path.name[: len(path.name) - len(suffix)]


def is_named(path: Path) -> bool:
    """Return whether a file is named as a volume: .nii.gz, .nii or .png in any case of letters."""
    return path.name.lower().endswith(SUFFIXES)


def is_many(place: Path) -> bool:
    """Return whether a place names many volumes: a folder, or a pattern such as scans/*.nii.gz.

    A folder of DICOM slices is one volume.
    """
    if place.is_dir():
        return not is_dicom(place)
    return not place.exists() and glob.has_magic(str(place)) and not is_dicom(place)


def read(path: str | Path) -> Volume:
    """Read an image as float32 with its grid.

    Raises:
        UserError: the file is missing, damaged, or no image of one volume (`nifti.read`, `png.read`, `dicom.read`).
    """
    if is_dicom(path):
        return dicom.read(path)
    return png.read(path) if png.is_png(path) else nifti.read(path)


def read_stored(path: str | Path) -> Volume:
    """Read an image as `read` does, but leave integers that need no rescaling as they are stored.

    Raises:
        UserError: as `read`.
    """
    if is_dicom(path):
        return dicom.read_stored(path)
    return png.read(path) if png.is_png(path) else nifti.read_stored(path)


def read_channels(paths: Sequence[str | Path]) -> Volume:
    """Read an image as `read_stored` does: [x,y,z] of one file, [x,y,z,c] of several, one a channel.

    Raises:
        UserError: as `read`, and for files on different grids.
    """
    first, *others = [read_stored(path) for path in paths]
    check_channels([first.grid, *(other.grid for other in others)], paths)
    if not others:
        return first
    volumes = [first, *(laid(other, first.grid, path) for other, path in zip(others, paths[1:], strict=True))]
    together = np.stack([volume.array for volume in volumes])
    return Volume(array=np.moveaxis(together, 0, -1), grid=volumes[0].grid)


def check_channels(grids: Sequence[Grid], paths: Sequence[str | Path]) -> None:
    """Raise UserError unless the files of a case's channels lie on one grid, whichever way their axes run."""
    for grid, path in zip(grids[1:], paths[1:], strict=True):
        if grid.turn_to(grids[0]) is None:
            raise UserError(
                expected=f"a channel on the grid of {Path(paths[0]).name}",
                found=difference(grids[0], grid),
                where=path,
                do=f"resample {Path(path).name} onto it, or pair the right files",
            )


def difference(grid: Grid, other: Grid) -> str:
    """Say how `other`, whose axes may run another way, differs from a grid that it cannot be turned to."""
    turned = other.oriented(other.orientation_to(grid.frame))
    found = grid.difference(turned if turned.shape == grid.shape else other)
    return found or "axes that cannot be turned onto it"


def laid(volume: Volume, grid: Grid, path: str | Path, *, expected: str = "a volume on the grid given") -> Volume:
    """Return a volume on exactly the grid given: turned where its axes run another way.

    Voxels within a tenth of one of their place are taken to be there, with a note.

    Args:
        volume: to be laid there.
        grid: of the other volume.
        path: of the volume, to be named.
        expected: for the error: "a prediction on the grid of its reference".

    Raises:
        UserError: its voxels lie elsewhere.
    """
    turn = volume.grid.turn_to(grid)
    if turn is None:
        raise UserError(
            expected=expected,
            found=difference(grid, volume.grid),
            where=path,
            do="resample one onto the other, or pair the right files",
        )
    moved = grid.shift_mm(volume.grid.oriented(turn))
    if moved > _ROUNDING_MM:
        note(f"{path}: its voxels, up to {moved:.3g} mm off, are taken for those of the grid that it belongs to")
    return Volume(array=turn.apply(volume.array), grid=grid)


def read_labels(path: str | Path, *, on: Grid | None = None, values: Mapping[str, int] | None = None) -> Volume:
    """Read a label map as integers with its grid.

    Args:
        path: a NIfTI file, a PNG, a DICOM segmentation or a DICOM structure set (RTSTRUCT).
        on: the grid of the image. DICOM labels need it: they have no grid of their own. Others pass over it.
        values: label values by structure name, for DICOM labels; None takes the numbers that the file has.

    Raises:
        UserError: the file is missing or damaged, a voxel is not a whole number, a DICOM label does not fit the grid.
    """
    if is_dicom(path) or is_label(path):
        return dicom_labels.read_labels(path, on=on, values=values)
    return png.read_labels(path) if png.is_png(path) else nifti.read_labels(path)


def read_mask(path: str | Path) -> Volume:
    """Read the mask of one object; of probabilities in [0,1], as NIfTI, those from one half are inside.

    Raises:
        UserError: as `read_labels`.
    """
    if nifti.is_nifti(path):
        volume = nifti.read_stored(path)
        array = volume.array
        if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1 and (array != np.rint(array)).any():
            return Volume(array=(array >= 0.5).astype(np.uint8), grid=volume.grid)
    return read_labels(path)


def read_grid(path: str | Path) -> Grid:
    """Read a volume's grid without its voxels.

    Raises:
        UserError: as `read`, but damage among the voxels goes unseen.
    """
    if is_dicom(path):
        return dicom.read_grid(path)
    return png.read_grid(path) if png.is_png(path) else nifti.read_grid(path)


def files_of(path: Path) -> list[Path]:
    """Return the files that make a volume: itself, or the slices of a folder; UserError of a folder without any."""
    place, _ = split_address(path)
    return image_files(place) if place.is_dir() else [path]


def exists(path: Path) -> bool:
    """Return whether a volume is there: a file, or a folder of DICOM slices."""
    return path.is_file() or (split_address(path)[0].is_dir() and is_dicom(path))


def write(
    path: str | Path,
    labels: Volume,
    *,
    like: str | Path,
    overwrite: bool = False,
    names: Mapping[int, str] | None = None,
) -> None:
    """Write a label map with the geometry of its image, in the format that the name says.

    Args:
        path: ends in .nii.gz, .nii or .png as the image does; of a DICOM series in .nii.gz, .nii or .dcm (DICOM-SEG).
        labels: the label map, on the grid of the image.
        like: the image.
        overwrite: replace a file that exists.
        names: structure names by label value, which DICOM-SEG holds; other formats have no place for them.

    Raises:
        UserError: another format than the image's, another grid, `path` exists, or it cannot be written.
    """
    path = Path(path)
    check_output(path, like=like)
    if is_segmentation(path):
        seg_writer.write(path, labels, names or {}, like=like, overwrite=overwrite)
    elif png.is_png(path):
        png.write(path, labels, like=like, overwrite=overwrite)
    else:
        nifti.write(path, labels, like=_geometry(like), overwrite=overwrite)


def write_probabilities(path: str | Path, probabilities: Volume, *, like: str | Path, overwrite: bool = False) -> None:
    """Write a map of probabilities as NIfTI with the geometry of its image.

    Args:
        path: ends in .nii.gz or .nii.
        probabilities: as uint16, 65535 for 1.
        like: the image, NIfTI, PNG or a DICOM series.
        overwrite: replace a file that exists.

    Raises:
        UserError: as `write`.
    """
    nifti.write_probabilities(
        path, Volume(array=probabilities.array, grid=probabilities.grid), like=_geometry(like), overwrite=overwrite
    )


def _geometry(like: str | Path) -> str | Path | Grid:
    """Return what `nifti.write` takes the geometry from: the file itself, or the grid of a DICOM series."""
    return dicom.read_grid(like) if is_dicom(like) else like


def is_segmentation(path: Path) -> bool:
    """Return whether an output is named as DICOM-SEG."""
    return path.name.lower().endswith(DICOM_SUFFIX)


def check_output(path: str | Path, *, like: str | Path) -> None:
    """Raise UserError unless `path` is named as a mask of the image `like` would be.

    NIfTI of NIfTI, PNG of PNG, of a DICOM series NIfTI or DICOM-SEG (.dcm), if the series has the UIDs that takes.
    """
    path = Path(path)
    if is_segmentation(path):
        if not is_dicom(like):
            raise UserError(
                expected="a DICOM series as input for an output ending in .dcm",
                found=Path(like).name,
                do="name an output ending in .nii.gz, or give the folder of DICOM slices",
            )
        seg_writer.check_source(like)
        return
    if png.is_png(like) and not png.is_png(path):
        raise UserError(
            expected=f"an output ending in {png.SUFFIX} for a PNG input", found=path.name, do="choose such a name"
        )
    if not png.is_png(like):
        nifti.check_suffix(path)
