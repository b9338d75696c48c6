"""The scans of a prediction: which ones an input names (a folder, a pattern, a list in a file), and reading one."""

from __future__ import annotations

import csv
import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from segfocal.errors import UserError
from segfocal.files import check_regular
from segfocal.grid import Volume
from segfocal.inference.bundle import Bundle
from segfocal.inference.segment import check_channels
from segfocal.io import volumes
from segfocal.io.dicom.file_kinds import is_dicom
from segfocal.io.volumes import SUFFIXES, is_many
from segfocal.predict.options import PredictOptions

_LISTS = (".txt", ".csv")


class Scan(NamedTuple):
    """A file or a DICOM series, and its name among the others: its path below the folder that holds them all.

    A series, which is a folder, has .nii.gz after its name: that of its mask. more: files of further channels.
    """

    name: str
    path: Path
    more: tuple[Path, ...] = ()

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
        paths = sorted(path for path in named.rglob("*") if not _hidden(path, named) and _is_scan(path))
        if output is not None and output.resolve() != named.resolve():
            paths = [path for path in paths if not path.resolve().is_relative_to(output.resolve())]
    elif named.suffix.lower() in _LISTS:
        paths = _listed(named)
    else:
        paths = [path for path in map(Path, sorted(glob.glob(str(named), recursive=True))) if _is_scan(path)]
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
        return _of_channels(paths, top)
    scans = [Scan(path.relative_to(top).as_posix() + _ending(path), path) for path in paths]
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


def _is_scan(path: Path) -> bool:
    return path.name.endswith(SUFFIXES) or (path.is_dir() and is_dicom(path))


def _ending(path: Path) -> str:
    """Return what the name of a scan lacks to be that of its mask."""
    return "" if path.name.endswith(SUFFIXES) or not is_dicom(path) else SUFFIXES[0]


def _of_channels(paths: Sequence[Path], top: Path) -> list[Scan]:
    """Return files as scans of several channels, by the four digits at the end of their names."""
    together: dict[str, dict[int, Path]] = {}
    for path in paths:
        name = path.relative_to(top).as_posix()
        found = re.fullmatch(r"(.+)_(\d{4})(\.nii(?:\.gz)?|\.png)", name)
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
        scans.append(Scan(name, files[first], more))
    return scans


def _hidden(path: Path, top: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(top).parts)


def _listed(file: Path) -> list[Path]:
    check_regular(file, expected="a list of scans")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = (error.strerror or str(error)) if isinstance(error, OSError) else "other bytes than UTF-8"
        raise UserError(expected="a list of scans", found=found, where=file, do="check input") from error
    if file.suffix.lower() == ".txt":
        return [file.parent / line.strip() for line in text.splitlines() if line.strip()]
    rows = list(csv.DictReader(text.splitlines()))
    if any(not row.get("image") for row in rows):
        raise UserError(
            expected="a CSV with the column image, filled in every row",
            found="another one",
            where=file,
            do="name the column in its first line",
        )
    return [file.parent / row["image"] for row in rows]
