"""The scans of a prediction: which ones an input names (a folder, a pattern, a list in a file), and reading one."""

from __future__ import annotations

import csv
import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from segfocal.errors import UserError
from segfocal.files import check_regular
from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.segment import check_channels
from segfocal.io import volumes
from segfocal.io.dicom.file_kinds import is_dicom
from segfocal.io.file_names import listed_file
from segfocal.io.nifti import is_nifti
from segfocal.io.passed_over import PassedOver, Reason, left_over, place_of
from segfocal.io.volumes import SUFFIXES, is_many, is_named
from segfocal.io.walk import walk
from segfocal.predict.options import PredictOptions

_LISTS = (".txt", ".csv")
_NUMBERED = re.compile(r"(.+)_(\d{4})(\.nii(?:\.gz)?|\.png)")  # nnU-Net's names: a file a channel


class Scan(NamedTuple):
    """A file or a DICOM series, and its name among the others: its path below the folder that holds them all.

    Args:
        name: of a series, which is a folder, with .nii.gz after it: that of its mask.
        path: the file, or the series.
        more: files of further channels.
        missing: the numbers of channels that are not there.
    """

    name: str
    path: Path
    more: tuple[Path, ...] = ()
    missing: tuple[int, ...] = ()

    def check_complete(self) -> None:
        """Raise UserError where a channel is missing: another one would be taken for it."""
        if self.missing:
            raise UserError(
                expected=f"channel {', '.join(f'{number:04d}' for number in self.missing[:4])} of {self.name}",
                found=f"{', '.join(file.name for file in self.files[:4])} without it",
                where=self.path.parent,
                do="add the file, or take the scan away",
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of each channel."""
        return (self.path, *self.more)


def names_many(place: Path) -> bool:
    """Return whether a path stands for many scans: as `volumes.is_many`, or a list of them (.txt, .csv)."""
    return is_many(place) or place.suffix.lower() in _LISTS


def find_scans(named: Path, *, output: Path | None = None, channels: int = 1) -> list[Scan]:
    """Return the scans of a folder (with those below), of a pattern (** reaches below), or of a list, in order.

    A list is a text file of one path a line, or a CSV with the column image; paths are relative to it. Files that a
    list names need not exist. Hidden files are passed over, and in a folder what lies below `output`. A folder of DICOM
    slices is a scan.
    channels: of a scan. Of several, the files are named as in nnU-Net: case_0000.nii.gz, case_0001.nii.gz are one scan
    of the name case.nii.gz. One that lacks channels is listed with those before the gap.

    Raises:
        UserError: none found, one named twice, a list that cannot be read.
    """
    if named.is_dir():
        below = walk(named)
        paths = sorted(path for path in (*below.files, *below.folders[1:]) if _is_scan(path))
        if output is not None:
            paths = [path for path in paths if not _is_of_output(path, output, named)]
    elif named.suffix.lower() in _LISTS:
        paths = _listed(named)
    else:
        paths = _fitting(str(named))
    if not paths:
        kinds = ", ".join(SUFFIXES)
        found = "a folder (DICOM or not) without any" if named.is_dir() else "none"
        raise UserError(
            expected=f"scans ending in {kinds}, or folders of DICOM slices", found=found, where=named, do="check input"
        )
    paths = [Path(os.path.abspath(path)) for path in paths]  # without "..", which a name below a folder cannot have
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise UserError(
            expected="each scan once", found=f"{min(twice)} more than once", where=named, do="take one of them out"
        )
    top = Path(os.path.commonpath([path.parent for path in paths]))
    if channels > 1:
        return _of_channels(paths, top, channels)
    scans = [Scan(_name(path, top), path) for path in paths]
    names = Counter(scan.name for scan in scans)
    if len(names) < len(scans):
        raise UserError(
            expected="scans of different names",
            found=f"a series and a file that would both be {names.most_common(1)[0][0]}",
            where=named,
            do="rename one of them",
        )
    return scans


def read_scan(options: PredictOptions, bundle: Bundle) -> Volume:
    """Read the channels of a scan; UserError for others than the bundle takes, as many or as they are."""
    check_channels(bundle, len(options.inputs), f": {', '.join(path.name for path in options.inputs)}")
    return volumes.read_channels(options.inputs)


@contextmanager
def scan_ahead(options: PredictOptions) -> Iterator[Callable[[Bundle], Volume]]:
    """Begin to read a scan in a thread of its own; yield what waits for it, as `read_scan`, once its bundle is loaded.

    Only a NIfTI file is read ahead. What reads other formats changes which warnings are shown, in every thread.
    """
    if len(options.inputs) > 1 or not is_nifti(options.scan) or is_dicom(options.scan):
        yield partial(read_scan, options)
        return
    with ThreadPoolExecutor(1) as thread:
        begun = thread.submit(volumes.read_channels, options.inputs)

        def scan_of(bundle: Bundle) -> Volume:
            check_channels(bundle, 1, f": {options.scan.name}")
            return begun.result()

        yield scan_of


def passed_over(named: Path, scans: Sequence[Scan], *, output: Path) -> list[PassedOver]:
    """Return the files below a folder that are images of formats that are not read, and links that lead back.

    Args:
        named: the folder; other inputs name each scan.
        scans: those found in it.
        output: where masks go, whose files are none of the data.
    """
    if not named.is_dir():
        return []
    below, used = walk(named), [file for scan in scans for file in scan.files]
    folders = [folder for folder in below.folders if not _is_of_output(folder, output, named)]
    found = [one for folder in folders for one in left_over(folder, used, Reason.OUTSIDE)]
    return [*found, *(PassedOver(path=path, reason=Reason.LINK_AGAIN) for path in below.again)]


def _is_of_output(path: Path, output: Path, named: Path) -> bool:
    """Return whether a path lies below the folder of masks, of another input than that folder itself."""
    real, masks, scans = (os.path.realpath(place) for place in (path, output, named))
    return masks != scans and os.path.commonpath([real, masks]) == masks


def channels_apart(scans: Sequence[Scan]) -> str:
    """Return a note on files that look like channels of one scan and are segmented each by itself; "" without any."""
    numbers: dict[str, list[str]] = {}
    for scan in scans:
        if found := _NUMBERED.fullmatch(scan.name):
            numbers.setdefault(found[1], []).append(scan.name)
    several = [names for names in numbers.values() if len(names) > 1]
    if not several or len(numbers) < 2:  # one name in front of all numbers: they count scans
        return ""
    return (
        f"note: {several[0][0]} and {several[0][1]} are segmented each by itself, as the bundle takes one channel: "
        "name the files of that channel, as 'input=scans/*_0000.nii.gz'"
    )


def _fitting(pattern: str) -> list[Path]:
    """Return the scans that fit a pattern, each once, by its shortest path: ** goes round in circles of links."""
    found: dict[str, Path] = {}
    for path in map(Path, sorted(glob.glob(pattern, recursive=True), key=lambda path: (path.count(os.sep), path))):
        if _is_scan(path):
            found.setdefault(place_of(path), path)
    return sorted(found.values())


def _is_scan(path: Path) -> bool:
    return is_named(path) or (path.is_dir() and is_dicom(path))


def _name(path: Path, top: Path) -> str:
    """Return the name of a scan, which its mask has too: the path below a folder, its ending in small letters."""
    name = path.relative_to(top).as_posix()
    if not is_named(path):
        return name + (SUFFIXES[0] if is_dicom(path) else "")
    ending = next(suffix for suffix in SUFFIXES if name.lower().endswith(suffix))
    return name[: -len(ending)] + ending


def _of_channels(paths: Sequence[Path], top: Path, channels: int) -> list[Scan]:
    """Return files as scans of several channels, by the four digits at the end of their names."""
    together: dict[str, dict[int, Path]] = {}
    for path in paths:
        name = _name(path, top)
        found = _NUMBERED.fullmatch(name)
        own, channel = (found[1] + found[3], int(found[2])) if found else (name, 0)
        taken = together.setdefault(own, {}).setdefault(channel, path)
        if taken != path:
            raise UserError(
                expected="one file a channel",
                found=f"{taken.name} and {path.name} for channel {channel} of {own}",
                where=path.parent,
                do="rename one of them",
            )
    scans = []
    for name, files in together.items():
        first, *others = sorted(files)
        unbroken = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(others, itertools.count(1), strict=False))
        more = tuple(files[channel] for channel, _ in unbroken) if first == 0 else ()
        missing = tuple(channel for channel in range(channels) if channel not in files)
        scans.append(Scan(name, files[first], more, missing))
    return scans


def _listed(file: Path) -> list[Path]:
    check_regular(file, expected="a list of scans")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = (error.strerror or str(error)) if isinstance(error, OSError) else "other bytes than UTF-8"
        raise UserError(expected="a list of scans", found=found, where=file, do="check input") from error
    if file.suffix.lower() == ".txt":
        return [listed_file(file.parent, line.strip(), where=file) for line in text.splitlines() if line.strip()]
    rows = list(csv.DictReader(text.splitlines()))
    if any(not row.get("image") for row in rows):
        raise UserError(
            expected="a CSV with the column image, filled in every row",
            found="another one",
            where=file,
            do="name the column in its first line",
        )
    return [listed_file(file.parent, row["image"], where=file) for row in rows]
