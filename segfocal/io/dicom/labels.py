"""DICOM labels in: segmentations and contours (RTSTRUCT), as label maps on the grid of the image they belong to.

A label map holds one value a voxel. Where structures overlap, the smaller one lies on top, as with mask files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.errors import Fault, UserError
from segfocal.grid import Grid, Volume
from segfocal.io.dicom import contours, seg_frames
from segfocal.io.dicom.file_kinds import Kind, header, kind_of, readable
from segfocal.io.dicom.slices import text_of
from segfocal.io.dicom.structure_boxes import Region, label_map_of


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a label says it belongs to: UIDs of series and of frames of reference."""

    series: tuple[str, ...]
    frames_of_reference: tuple[str, ...]


def read_labels(path: str | Path, *, on: Grid | None, values: Mapping[str, int] | None = None) -> Volume:
    """Read a segmentation or contours as a label map on a grid. Fractional segments are inside from one half.

    Args:
        path: the file.
        on: the grid of the image, which the file has not.
        values: label values by name; names that it lacks stay background, and segments of one name are one structure.
            None takes the numbers of segments or ROIs.

    Raises:
        UserError: no grid, no segmentation or contours, damage, frames off the grid's voxels, contours off its slices.
    """
    path = Path(path)
    kind, reader = _checked_kind(path), {"segmentation": seg_frames.boxes, "contours": contours.boxes}
    if on is None:
        raise UserError(
            expected="a label map with a grid of its own",
            found="a DICOM label, which is drawn on an image",
            where=path,
            do="give it where its image is known too, or convert it to NIfTI",
        )
    named = {number: name for number, name in _numbered(path, kind).items() if values is None or name in values}
    regions: dict[str, Region] = {}
    for number, box in reader[kind](path, on, set(named)):
        name = named[number]
        regions.setdefault(name, Region(name, number)).boxes.append(box)
    own = {named[number]: number for number in sorted(named, reverse=True)}  # of several of one name the lowest
    return label_map_of(list(regions.values()), on, own if values is None else values)


def names(path: Path) -> list[str]:
    """Return the names of a label's structures in its order, each once.

    Raises:
        UserError: no segmentation or contours, damage, no structure in it.
    """
    return list(dict.fromkeys(_numbered(path, _checked_kind(path)).values()))


def reference(path: Path) -> Reference:
    """Return what a label says it belongs to.

    Raises:
        UserError: no segmentation or contours, damage.
    """
    kind, elements = _checked_kind(path), header(path)
    with readable(path):
        frames = elements.get("ReferencedFrameOfReferenceSequence") or []
        if kind == "segmentation":
            series = [one.SeriesInstanceUID for one in elements.get("ReferencedSeriesSequence") or []]
            places = [text_of(elements, "FrameOfReferenceUID")]
        else:
            studies = [study for one in frames for study in one.get("RTReferencedStudySequence") or []]
            series = [
                one.SeriesInstanceUID for study in studies for one in study.get("RTReferencedSeriesSequence") or []
            ]
            places = [text_of(one, "FrameOfReferenceUID") for one in frames]
    return Reference(series=tuple(map(str, series)), frames_of_reference=tuple(place for place in places if place))


def _numbered(path: Path, kind: Kind) -> dict[int, str]:
    """Return the names of segments, or of ROIs with closed contours, by number."""
    elements = header(path)
    with readable(path):
        found = _segments(elements) if kind == "segmentation" else contours.rois(elements)
    if not found:
        raise UserError(
            expected="at least one structure",
            found="no segment" if kind == "segmentation" else "no closed contour",
            where=path,
            do="take the case off the list",
        )
    return found


def _segments(elements: Any) -> dict[int, str]:
    return {
        int(one.SegmentNumber): text_of(one, "SegmentLabel") or f"segment_{one.SegmentNumber}"
        for one in elements.get("SegmentSequence") or []
        if int(one.SegmentNumber) > 0
    }


def _checked_kind(path: Path) -> Kind:
    if not path.is_file():
        raise UserError(
            expected="a DICOM label", found="no such file", where=path, do="check the path", fault=Fault.MISSING
        )
    kind = kind_of(path)
    if kind not in ("segmentation", "contours"):
        found = "another file" if kind is None else "a slice of an image" if kind == "image" else "another DICOM file"
        raise UserError(
            expected="a DICOM segmentation or RTSTRUCT", found=found, where=path, do="give the label of the image"
        )
    return kind
