"""DICOM segmentations out: a label map of a series as a file that refers to its slices, one segment a structure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import segfocal
from segfocal.errors import UserError
from segfocal.files import check_new, written_beside
from segfocal.grid import Volume
from segfocal.io.dicom.file_kinds import extra, first_line
from segfocal.io.dicom.seg_sources import CHARACTERS, check_uids, sources_of
from segfocal.io.dicom.series import Series, read_series

_SERIES_NUMBER = 1000
_LABEL = 64  # characters of a segment's label
_STRUCTURE = ("123037004", "SCT", "Anatomical Structure")


def check_source(like: str | Path) -> Series:
    """Return the series that a segmentation would refer to, after a trial: no mask is made that cannot be written.

    Raises:
        UserError: the extra is missing, the series lacks the UIDs that name it, or no segmentation can refer to it.
    """
    extra("highdicom")
    series = read_series(like)
    check_uids(series)
    stack = np.zeros((len(series.slices) if len(series.files) == 1 else 1, *series.slices[0].shape), dtype=np.uint8)
    stack[0, 0, 0] = 1
    with _made_of(series), BytesIO() as trial:
        _segmentation(sources_of(series, first_only=True), stack, ["trial"]).save_as(trial)
    return series


@contextmanager
def _made_of(series: Series) -> Iterator[None]:
    """Turn what highdicom refuses into one message; it is the slices' headers, since all else is ours."""
    try:
        with extra("pydicom.config").disable_value_validation():
            yield
    except Exception as error:
        if isinstance(error, UserError | OSError | MemoryError):
            raise
        raise UserError(
            expected="slices that a DICOM segmentation can refer to",
            found=f"some that highdicom refuses ({type(error).__name__}: {first_line(error)})",
            where=series.files[0],
            do="name an output ending in .nii.gz",
        ) from error


def write(
    path: str | Path, labels: Volume, names: Mapping[int, str], *, like: str | Path, overwrite: bool = False
) -> None:
    """Write a label map as a binary DICOM segmentation, a segment a name. It appears complete or not at all.

    Patient and study are copied from the first slice of the series.

    Args:
        path: ends in .dcm.
        labels: the label map, on the grid of the series.
        names: structure names by label value; a structure without a voxel is a segment without a frame.
        like: the series: a folder of slices, `folder@SeriesInstanceUID`, or one file of many frames.
        overwrite: replace a file that exists.

    Raises:
        UserError: as `check_source`; the grids differ, a label value has no name, `path` exists and overwrite is False.
    """
    path, like = Path(path), Path(like)
    check_new(path, overwrite=overwrite)
    series = check_source(like)
    difference = series.grid.difference(labels.grid)
    if difference:
        raise UserError(expected="a mask on the scan's grid", found=difference, where=like, do="resample it first")
    numbers = _numbers(labels.array, names, path)
    with _made_of(series):
        sources = sources_of(series)
        found = _segmentation(sources, _by_frame(numbers, series), _segment_labels(list(names.values())))
    with written_beside(path) as temporary, _made_of(series):
        found.save_as(temporary)


def _numbers(array: NDArray, names: Mapping[int, str], path: Path) -> NDArray:
    """Return segment numbers, counted from 1 in the order of `names`, instead of label values."""
    highest = max([int(array.max()), *names])
    table = np.full(highest + 1, -1, dtype=np.int32)
    table[[0, *names]] = np.arange(len(names) + 1)
    numbers = table.astype(np.uint8 if len(names) < 255 else np.uint16)
    unnamed = [value for value in np.unique(array).tolist() if table[value] < 0]
    if unnamed:
        raise UserError(
            expected="a name for every label value", found=f"none for {unnamed[0]}", where=path, do="name its structure"
        )
    return numbers[array]


def _by_frame(numbers: NDArray, series: Series) -> NDArray:
    """Return [x,y,z] as [frame,row,column] in the order of the sources' frames."""
    stack = numbers.transpose(2, 1, 0)
    if len(series.files) == len(series.slices):
        return stack
    return stack[np.argsort([one.frame for one in series.slices])]


def _segment_labels(names: list[str]) -> list[str]:
    """Return names as segments can have them, each its own: of at most 64 characters, without controls and "\\"."""
    labels: list[str] = []
    for name in names:
        plain = "".join(letter if letter.isprintable() and letter != "\\" else "_" for letter in name)[:_LABEL]
        numbered = (plain if number == 1 else f"{plain[: _LABEL - 4]}_{number}" for number in itertools.count(1))
        labels.append(next(label for label in numbered if label not in labels))
    return labels


def _segmentation(sources: list[Any], stack: NDArray, names: list[str]) -> Any:
    seg, new_uid = extra("highdicom.seg"), extra("pydicom.uid").generate_uid
    return seg.Segmentation(
        source_images=sources,
        pixel_array=stack,
        segmentation_type="BINARY",
        segment_descriptions=[describe_segment(number, name) for number, name in enumerate(names, start=1)],
        series_instance_uid=new_uid(prefix=None),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=new_uid(prefix=None),
        instance_number=1,
        manufacturer="segfocal",
        manufacturer_model_name="segfocal",
        software_versions=segfocal.__version__,
        device_serial_number=segfocal.__version__,
        series_description="segfocal segmentation",
        content_description="Segmentation by segfocal",
        content_label="SEGMENTATION",
        specific_character_set=CHARACTERS,
    )


def describe_segment(number: int, name: str) -> Any:
    """Return the DICOM description of the segment of one structure: its number from 1, its name, made by software."""
    code = extra("pydicom.sr.coding").Code
    family = extra("pydicom.sr.codedict").codes.cid7162.ArtificialIntelligence
    algorithm = extra("highdicom").AlgorithmIdentificationSequence(
        name="segfocal", family=family, version=segfocal.__version__
    )
    return extra("highdicom.seg").SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=code(*_STRUCTURE),
        segmented_property_type=code(*_STRUCTURE),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )
