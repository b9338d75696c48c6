"""The report of one case: its files are read whatever they hold, and every check of one case is made."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segfocal.data.case import Case
from segfocal.data.dicom_labels import read_label
from segfocal.doctor.checks import Check, Finding, Found
from segfocal.doctor.header_checks import header_findings
from segfocal.doctor.image_checks import Intensities, fingerprint, image_findings, intensities
from segfocal.doctor.label_checks import (
    counts_of,
    grid_findings,
    integer_labels,
    label_findings,
    suspect_swap,
    value_findings,
)
from segfocal.errors import Fault, UserError
from segfocal.grid import Grid, Volume
from segfocal.intensity import Percentiles, Window
from segfocal.io import nifti, volumes
from segfocal.io.dicom.contours import ContoursPassedOver
from segfocal.io.dicom.file_kinds import is_dicom, is_label
from segfocal.io.dicom.series import read_series
from segfocal.report.thumbnail import thumbnail

_NOT_READ = frozenset(  # faults of a NIfTI file that leave no voxels to look at
    (
        *(Check.MISSING_FILE, Check.EMPTY_FILE, Check.NO_NIFTI, Check.NOT_PACKED, Check.PACKED, Check.DAMAGED),
        *(Check.BYTES_AFTER, Check.UNREADABLE, Check.VOXEL_TYPE, Check.NOT_3D, Check.SEVERAL_VOLUMES),
        *(Check.EMPTY_VOLUME, Check.NO_PLACE),
    )
)
_EXPLAINED = frozenset(  # by image and label in each other's place
    (
        *(Check.CONSTANT_SLICES, Check.PADDING, Check.NOT_WHOLE, Check.NOT_A_LABEL_MAP),
        *(Check.TINY_COMPONENTS, Check.UNKNOWN_VALUE),
    )
)
_SHOWN = 192  # pixels of a side of the picture


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseReport:
    """What was found of a case, and what comparing it with the other cases needs.

    Args:
        case: the case.
        findings: what is wrong with it.
        grid: of the first channel; None where that cannot be read.
        modality: of a DICOM series, as its header says it ("CT", "PT"); "" where nothing says it.
        scale: the intensities of the first channel; None where that cannot be read or is a label.
        image_hash: of the first channel's voxels, whatever type they are stored as; "" of none.
        label_hash: of the label's voxels, likewise; "" of an empty label.
        voxels: how many of each label value.
        picture: a data URL of the slice with most of the label; "" without an image.
    """

    case: Case
    findings: list[Finding] = field(default_factory=list)
    grid: Grid | None = None
    modality: str = ""
    scale: Intensities | None = None
    image_hash: str = ""
    label_hash: str = ""
    voxels: dict[int, int] = field(default_factory=dict)
    picture: str = ""


def examine(case: Case, *, names: Mapping[str, int]) -> CaseReport:
    """Examine one case; it never raises because of what a file holds.

    Args:
        case: the case to read.
        names: label values by structure name; others are findings. Empty where no names are known.
    """
    try:
        return _examine(case, names)
    except Exception as error:  # one case must not stop the others
        found = Finding(
            check=Check.UNREADABLE, found=f"{type(error).__name__}: {error}", case=case.name, file=case.image
        )
        return CaseReport(case=case, findings=[found])


def _examine(case: Case, names: Mapping[str, int]) -> CaseReport:
    findings: list[Finding] = []

    def note(found: Iterable[Found], path: Path) -> None:
        findings.extend(Finding(check=check, found=what, case=case.name, file=path) for check, what in found)

    image = _volume(case.image, case, findings)
    label, apart = _beside(image, _label(case, image, findings))
    scale = None
    if image is not None:
        note(image_findings(image), case.image)
        scale = _scale(image)
    for path in case.more:
        channel = _volume(path, case, findings)
        if channel is not None:
            note(_channel(image, channel), path)
    labels = None
    if label is not None:
        note(label_findings(label.array), case.label)
        labels = integer_labels(label.array)
    counts = {} if labels is None else counts_of(labels)
    if labels is not None:
        note(value_findings(labels, counts, names), case.label)
    if image is not None and label is not None:
        note(apart, case.label)
        if confused := list(_confused(image, scale, label)):  # this explains what else is odd about the values
            findings = [one for one in findings if one.check not in _EXPLAINED]
            note(confused, case.image)
            scale = None
    return CaseReport(
        case=case,
        findings=findings,
        grid=image.grid if image is not None else None,
        modality=read_series(case.image).modality if image is not None and is_dicom(case.image) else "",
        scale=scale,
        image_hash=fingerprint(image.array) if image is not None else "",
        label_hash=fingerprint(labels) if labels is not None and set(counts) - {0} else "",
        voxels=counts,
        picture="" if image is None else _picture(image, labels),
    )


def _scale(image: Volume) -> Intensities | None:
    """Return the scale of an image, None of one without a finite voxel."""
    some = image.array.dtype.kind != "f" or np.isfinite(image.array).any()
    return intensities(image.array) if some else None


def _beside(image: Volume | None, label: Volume | None) -> tuple[Volume | None, list[Found]]:
    """Return a label laid on its image's grid where it lies there, and in what their grids differ."""
    if image is None or label is None:
        return label, []
    return label.on(image.grid) or label, list(grid_findings(image.grid, label.grid))


def _channel(first: Volume | None, channel: Volume) -> Iterable[Found]:
    """Yield what is wrong with another channel of a case."""
    yield from image_findings(channel)
    if first is not None and channel.grid.turn_to(first.grid) is None:
        yield Check.CHANNEL_GRID, first.grid.difference(channel.grid) or "voxels elsewhere"


def _confused(image: Volume, scale: Intensities | None, label: Volume) -> Iterable[Found]:
    """Yield signs that image and label were taken for each other."""
    if scale is None:
        return
    if image.array.shape == label.array.shape and np.array_equal(image.array, label.array):
        yield Check.IMAGE_IS_LABEL, "every voxel is that of the label"
    elif suspect_swap(scale, label.array):
        yield Check.SWAPPED, f"an image of {scale.distinct} whole values, and a label that is no label map"
    elif 1 < scale.distinct <= 4 and scale.integers_only:
        yield Check.IMAGE_IS_LABEL, f"only {scale.distinct} values"


def _volume(
    path: Path, case: Case, findings: list[Finding], read: Callable[[Path], Volume] = volumes.read_stored
) -> Volume | None:
    """Return a volume with whatever values it holds, or None when it cannot be read; either way say what is wrong.

    read: reads what is not NIfTI.
    """
    if is_nifti(path):
        found = header_findings(path, case.name)
        findings += found
        if any(one.check in _NOT_READ for one in found):
            return None
    check, what = Check.UNREADABLE, ""
    try:
        if is_nifti(path):
            return nifti.read_as_is(path)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            volume = read(path)
        passed_over = [str(one.message) for one in told if one.category is ContoursPassedOver]
        findings += [Finding(check=Check.CONTOURS, found=one, case=case.name, file=path) for one in passed_over]
        return volume
    except UserError as error:
        check, what = _reason(error)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
    findings.append(Finding(check=check, found=what, case=case.name, file=path))
    return None


def is_nifti(path: Path) -> bool:
    """Return whether a path names a NIfTI file: the doctor reads those whatever they hold, others as training does."""
    return nifti.is_nifti(path) and not path.is_dir()


def _reason(error: UserError) -> Found:
    """Return the check that an error of reading a file belongs to, and what was found."""
    if error.fault is Fault.MISSING:
        return Check.MISSING_FILE, "no such file"
    if error.fault is Fault.TRAILING_BYTES:
        return Check.BYTES_AFTER, "other bytes after the packed ones"
    return (Check.DAMAGED if error.fault is Fault.DAMAGED else Check.UNREADABLE), error.found


def _label(case: Case, image: Volume | None, findings: list[Finding]) -> Volume | None:
    if case.masks is None:
        if image is None:
            return None if is_label(case.label) else _volume(case.label, case, findings, volumes.read_labels)
        grid = image.grid
        label = _volume(case.label, case, findings, lambda _: read_label(case, grid))
        return label.oriented(grid.frame) if label is not None and is_dicom(case.image) else label
    if image is None:
        return None
    from segfocal.data.mask_files import label_map  # torch, seconds to load, and only pictures need it

    try:
        return label_map(case, image.grid)
    except UserError as error:
        place = Path(str(error.where)) if error.where else case.label
        check = Check.MISSING_FILE if error.fault is Fault.MISSING else Check.UNREADABLE
        findings.append(Finding(check=check, found=error.found, case=case.name, file=place))
        return None


def _picture(image: Volume, labels: NDArray[np.int16] | None) -> str:
    """Return the axial slice with most labelled pixels, or the middle one, with outlines."""
    turn = image.grid.orientation_to("SPL")
    array = turn.apply(image.array)
    same = labels is not None and labels.shape == image.array.shape
    masks = turn.apply(labels) if labels is not None and same else None
    areas = np.zeros(len(array)) if masks is None else np.count_nonzero(masks, axis=(1, 2))
    index = int(np.argmax(areas)) if areas.any() else len(array) // 2
    step = max(1, -(-max(array.shape[1:]) // _SHOWN))
    cut = np.s_[index, ::step, ::step]
    picture = np.nan_to_num(np.asarray(array[cut], dtype=np.float32), posinf=0, neginf=0)
    window = Window(lower=-160, upper=240) if picture.min() < -500 else Percentiles(low=1, high=99)
    _, mm_h, mm_w = image.grid.oriented(turn).spacing_mm
    return thumbnail(window(picture), None if masks is None else masks[cut], aspect=mm_h / mm_w)
