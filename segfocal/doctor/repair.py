"""The repair of one case: copies of its files in which what is safe to mend is mended. Originals are only read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from segfocal.data.case import Case
from segfocal.doctor.case_report import CaseReport, examine, is_nifti
from segfocal.doctor.checks import CHECKS, Check, Finding
from segfocal.errors import UserError
from segfocal.grid import Grid, Volume
from segfocal.io import nifti, volumes
from segfocal.io.nifti.geometry import mm_per_unit
from segfocal.io.nifti.header import read_raw_header
from segfocal.io.nifti.packing import salvaged
from segfocal.plain_names import fit_name

_ROUNDS = 3  # one fault may hide the next
_SLIGHT = 0.5  # of the smallest spacing: a label moved no farther takes the image's header
_PACKING = frozenset((Check.NOT_PACKED, Check.PACKED, Check.BYTES_AFTER))
_OFF_THE_IMAGE = frozenset(  # a label whose voxels are not those of its image
    (Check.GRID_SHAPE, Check.GRID_SPACING, Check.GRID_DIRECTION, Check.GRID_ORIGIN, Check.APART)
)


class FileRepair(NamedTuple):
    """One thing done to a copy of a file.

    Args:
        case: the name of the case.
        file: the original.
        check: what it mends.
        action: what was done, in words.
        to: the copy.
    """

    case: str
    file: str
    check: Check
    action: str
    to: str


@dataclass(frozen=True, kw_only=True, eq=False)
class RepairedCase:
    """A case whose files are mended copies or its own, what was done, and the report of it afterwards."""

    case: Case
    repairs: tuple[FileRepair, ...]
    after: CaseReport


def repair_case(
    before: CaseReport, folder: Path, *, names: Mapping[str, int], same_shape: bool = False
) -> RepairedCase:
    """Write mended copies of a case's files to folder/images and folder/labels, and examine them again.

    Args:
        before: the report of the case.
        folder: where copies go.
        names: label values by structure name, as of `examine`.
        same_shape: a label of its image's shape takes the image's header, however far apart the two are.

    Raises:
        UserError: the copies cannot be written.
    """
    repairs: list[FileRepair] = []
    case, after = before.case, before
    for _ in range(_ROUNDS):
        wanted = [
            one for one in after.findings if CHECKS[one.check].mended or (same_shape and one.check is Check.APART)
        ]
        if not wanted or case.masks is not None:
            break
        case, done = _repair_once(case, wanted, folder, same_shape=same_shape)
        if not done:
            break
        repairs += done
        after = examine(case, names=names)
    return RepairedCase(case=case, repairs=tuple(repairs), after=after)


def listed_name(name: str) -> str:
    """Return the name of a case as that of its copies and in cases.csv: a file can have it, and it is no formula."""
    fit = fit_name(name)
    return f"_{fit}" if fit.startswith(("=", "+", "@")) else fit


def copies_of(case: Case, folder: Path) -> list[Path]:
    """Return where copies of a case's files go: of its images, and last of its label."""
    name = listed_name(case.name)
    endings = [f"_{index:04d}" if case.more else "" for index in range(len(case.images))]
    images = [folder / "images" / f"{name}{ending}.nii.gz" for ending in endings]
    return [*images, folder / "labels" / f"{name}.nii.gz"]


def _repair_once(
    case: Case, wanted: Iterable[Finding], folder: Path, *, same_shape: bool
) -> tuple[Case, list[FileRepair]]:
    files = (*case.images, case.label)
    checks = {path: [one.check for one in wanted if one.file == path and is_nifti(path)] for path in files}
    repairs: list[FileRepair] = []
    images, label_path = list(case.images), case.label
    copies = copies_of(case, folder)
    for index, path in enumerate(case.images):
        if checks[path]:
            volume, done = _sound(path, checks[path], folder, label=False)
            images[index] = copies[index]
            nifti.write_new(images[index], volume, overwrite=True)
            repairs += _logged(case, path, done, images[index])
    if checks[case.label]:
        volume, done = _sound(case.label, checks[case.label], folder, label=True)
        grid = _grid_of(images[0])
        elsewhere = [check for check in checks[case.label] if check in _OFF_THE_IMAGE]
        if grid is not None and elsewhere:
            volume, action = _onto_image(volume, grid, same_shape=same_shape)
            done += [(check, action) for check in elsewhere if action]
        if done:
            label_path = copies[-1]
            nifti.write_new(label_path, volume, overwrite=True)
            repairs += _logged(case, case.label, done, label_path)
    return replace(case, image=images[0], more=tuple(images[1:]), label=label_path), repairs


def _logged(case: Case, file: Path, done: Iterable[tuple[Check, str]], to: Path) -> list[FileRepair]:
    return [FileRepair(case.name, str(file), check, action, str(to)) for check, action in done]


def _grid_of(image: Path) -> Grid | None:
    try:
        return volumes.read_grid(image)
    except UserError:
        return None


@contextmanager
def _opened(path: Path, checks: Iterable[Check], folder: Path) -> Iterator[Path]:
    if _PACKING & set(checks):
        with salvaged(path, beside=folder) as plain:
            yield plain
    else:
        yield path


def _sound(path: Path, checks: list[Check], folder: Path, *, label: bool) -> tuple[Volume, list[tuple[Check, str]]]:
    """Return a volume whose header and values are mended, and what was done for which check."""
    with _opened(path, checks, folder) as source:
        volume, header = nifti.read_as_is(source), read_raw_header(source)
        array, grid = np.array(volume.array), volume.grid  # of a mapped file a copy: the source may vanish
    done = [(check, "content written anew") for check in checks if check in _PACKING]
    done += [(check, "both forms hold the affine in force") for check in checks if check is Check.FORMS_DISAGREE]
    done += [(check, "spacings written as those of the affine") for check in checks if check is Check.PIXDIM]
    if Check.WRONG_UNIT in checks:
        done.append((Check.WRONG_UNIT, f"affine times {mm_per_unit(header):g}: {header.units} to mm"))
    if Check.NOT_FINITE in checks:
        array, action = _finite(array, label=label)
        done.append((Check.NOT_FINITE, action))
    if Check.ALMOST_WHOLE in checks:
        off = float(np.abs(array - np.rint(array)).max())
        array = np.rint(array).astype(np.int64)
        done.append((Check.ALMOST_WHOLE, f"rounded, by {off:.3g} at most (of {nifti.ALMOST_WHOLE:g})"))
    if label:
        array = _smallest(array)
    return Volume(array=array, grid=grid), done


def _smallest(array: np.ndarray) -> np.ndarray:
    """Return a label map in the smallest integer type if its values are whole."""
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        return array
    return array.astype(nifti.smallest_integer_type(array))


def _finite(array: np.ndarray, *, label: bool) -> tuple[np.ndarray, str]:
    good = np.isfinite(array)
    value = 0.0 if label or not good.any() else float(array[good].min())
    what = "0" if label else "the smallest finite value"
    return np.where(good, array, array.dtype.type(value)), f"{int((~good).sum())} voxels set to {what}, {value:g}"


def _onto_image(label: Volume, grid: Grid, *, same_shape: bool) -> tuple[Volume, str]:
    """Return a label on its image's grid and what was done; the label as it is and "" where nothing helps.

    Of the same shape and with no corner voxel farther from its place than half the smallest spacing, the array stays
    and takes the image's grid; otherwise each voxel of the image takes the value of the nearest voxel of the label.
    """
    if grid.difference(label.grid) is None:
        return label, ""
    if grid.shape == label.grid.shape:
        moved = grid.shift_mm(label.grid)
        if moved <= _SLIGHT * min(grid.spacing_mm) or same_shape:
            return Volume(array=label.array, grid=grid), f"header of the image copied: voxels move by {moved:.3g} mm"
    array = label.array
    move = grid.voxels_to(label.grid)
    resampled = ndimage.affine_transform(
        array, move[:3, :3], move[:3, 3], output_shape=grid.shape, order=0, mode="grid-constant"
    )
    if array.any() and not resampled.any():
        return label, ""
    before, after = (float((a != 0).sum()) * g.voxel_mm3 / 1000 for a, g in ((array, label.grid), (resampled, grid)))
    return Volume(
        array=resampled, grid=grid
    ), f"resampled, nearest neighbour: {before:.4g} ml before, {after:.4g} after"
