"""Which files are DICOM and which make a series, by their first bytes: pydicom is asked only for what is read.

A series is named by its folder, or where several lie in one, by `folder@SeriesInstanceUID`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from segfocal.errors import Fault, UserError
from segfocal.io.dicom.file_bytes import HEAD, PREAMBLE, check_lengths, check_promise, file_group, opened
from segfocal.memory import check_available

SUFFIX = ".dcm"
Kind = Literal["image", "segmentation", "contours", "other"]

_CLASS = 2  # the number of the element of a file's own group that says what it holds
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SEGMENTATIONS, _CONTOURS = (_STORAGE + "66.4", _STORAGE + "66.7"), _STORAGE + "481.3"
# Registrations and segmentations, reports, presentations, waveforms, documents, radiotherapy.
_NO_IMAGES = tuple(_STORAGE + number for number in ("66", "67", "88.", "11.", "9.", "104.", "481."))
_OTHERS = (  # what lies beside slices and says by its name that it is none
    *(".txt", ".md", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".html", ".log", ".pdf"),
    *(".nii", ".nii.gz", ".png", ".jpg", ".jpeg", ".zip"),
)
_VOLUMES = (".nii", ".nii.gz", ".png")


def kind_of(path: Path) -> Kind | None:
    """Return what a DICOM file holds, by its SOP class; None of a file that is not DICOM or cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    if head[PREAMBLE : PREAMBLE + 4] != b"DICM":
        return None
    elements, end = file_group(head)
    if end >= len(head):  # cut short before its first element
        return None
    name = elements.get(_CLASS, b"").decode("ascii", "replace")
    if name in _SEGMENTATIONS:
        return "segmentation"
    if name == _CONTOURS:
        return "contours"
    return "image" if not name or (name.startswith(_STORAGE) and not name.startswith(_NO_IMAGES)) else "other"


def split_address(path: Path) -> tuple[Path, str | None]:
    """Return the folder or file that a path names, and the SeriesInstanceUID after "@" if it names one."""
    if not path.exists():
        name, at, uid = path.name.rpartition("@")
        if at and name and path.with_name(name).is_dir():
            return path.with_name(name), uid
    return path, None


def is_dicom(path: str | Path) -> bool:
    """Return whether a path names a folder of DICOM slices, one series of such a folder, or a file ending in .dcm.

    A folder that holds as many NIfTI files or pictures as slices is none: they are what it is about.
    """
    place, uid = split_address(Path(path))
    if not place.is_dir():
        return place.name.lower().endswith(SUFFIX)
    if uid is not None:
        return True
    files = _visible(place)
    others = sum(file.name.lower().endswith(_VOLUMES) for file in files)
    images = (file for file in files if not file.name.lower().endswith(_OTHERS) and kind_of(file) == "image")
    return len(list(islice(images, others + 1))) > others


def is_label(path: str | Path) -> bool:
    """Return whether a file holds a DICOM segmentation or contours (RTSTRUCT), by its first bytes."""
    path = Path(path)
    return path.is_file() and kind_of(path) in ("segmentation", "contours")


def image_files(path: Path) -> list[Path]:
    """Return the DICOM images of a folder, or the one file.

    Raises:
        UserError: nothing there, no image, or a file that is not DICOM and does not say by its name what else it is
            (a slice that lost its first bytes would be missed).
    """
    place, _ = split_address(path)
    if place.is_file():
        files = [place]
    elif place.is_dir():
        files = [file for file in _visible(place) if not file.name.lower().endswith(_OTHERS)]
    else:
        raise UserError(
            expected="a folder of DICOM slices",
            found="nothing there",
            where=place,
            do="check the path",
            fault=Fault.MISSING,
        )
    kinds = {file: kind_of(file) for file in files}
    for file, kind in kinds.items():
        if kind is None:
            raise UserError(
                expected="a DICOM file (DICM after 128 bytes)",
                found=f"{file.stat().st_size} bytes of something else",
                where=file,
                do="copy or export it again, or take it out of the folder",
            )
    images = [file for file, kind in kinds.items() if kind == "image"]
    if not images:
        found = ", ".join(sorted({str(kind) for kind in kinds.values()})) or "no DICOM file"
        raise UserError(expected="DICOM slices", found=found, where=place, do="name the folder that holds the slices")
    return images


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError as error:
        found = error.strerror or str(error)
        raise UserError(expected="a folder to read", found=found, where=folder, do="check its permissions") from error


def extra(module: str) -> Any:
    """Import a module of the extra "dicom"; UserError where that is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            expected="the extra that reads and writes DICOM",
            found=f"no module {error.name}",
            do="install it: pip install 'segfocal[dicom]'",
        ) from error


def header(path: Path, *, tags: list[str] | None = None) -> Any:
    """Read the elements of a DICOM file before its pixels, or only those named; UserError where that fails."""
    with readable(path):
        elements = extra("pydicom").dcmread(opened(path), stop_before_pixels=True, specific_tags=tags)
        check_lengths(elements, path)
        for name in tags or ():
            elements.get(name)  # pydicom parses a value when it is first asked for
        return elements


def whole(path: Path) -> Any:
    """Read a DICOM file with its pixels, packed as they are; UserError where it or the memory cannot hold them."""
    dcmread: Any = extra("pydicom").dcmread
    source: Path | BytesIO = path
    with readable(path):
        inflated = opened(path)
        if inflated is not path:
            promised = check_promise(dcmread(inflated, stop_before_pixels=True), path, deflated=True)
            source = opened(path, pixels=promised)
        check_available(path.stat().st_size, where=path, what="a file")
        elements = dcmread(source)
        if source is path:
            check_promise(elements, path)
        check_lengths(elements, path)
        return elements


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn every way a damaged or unsupported DICOM file fails into one message.

    Values that DICOM does not allow are no warning: what is needed of them is checked where it is used.
    """
    try:
        with extra("pydicom.config").disable_value_validation():
            yield
    except UserError:
        raise
    except (NotImplementedError, RuntimeError) as error:
        raise UserError(
            expected="pixels that can be decoded",
            found=first_line(error),
            where=path,
            do="install a decoder for that compression (pip install python-gdcm), or export the file uncompressed",
        ) from error
    except Exception as error:  # pydicom meets damage with whatever its parsers raise
        if isinstance(error, OSError) and error.strerror:
            found = error.strerror
            fault = Fault.MISSING if isinstance(error, FileNotFoundError) else Fault.OTHER
        else:
            found = f"{path.stat().st_size} bytes that are damaged or cut short ({first_line(error)})"
            fault = Fault.DAMAGED
        raise UserError(
            expected="a whole DICOM file", found=found, where=path, do="copy or export the file again", fault=fault
        ) from error


def first_line(error: Exception) -> str:
    """Return what an error says in one line of at most 160 characters; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:160]
