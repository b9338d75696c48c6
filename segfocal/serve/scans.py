"""The scans that a server shows: those of a folder, with their labels if it has any, and uploaded ones."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from threading import Lock

from segfocal.data.case import Case
from segfocal.data.cases import read_cases
from segfocal.data.layouts.label_files import labels_beside
from segfocal.errors import UserError
from segfocal.files import make_folder
from segfocal.grid import Grid, Volume
from segfocal.io import nifti, volumes
from segfocal.io.dicom.file_kinds import is_dicom
from segfocal.plain_names import slug
from segfocal.predict.inputs import Scan, find_scans
from segfocal.serve.refusal import Refused

_LISTS = (".csv", ".jsonl", ".ndjson")


@dataclass(frozen=True, kw_only=True)
class ServedScan:
    """One scan.

    Args:
        id: by which requests name it: the same for the same files.
        name: for people, and for the mask that is saved.
        files: one a channel, each a file or a DICOM series.
        label: the label map that the folder has for it.
    """

    id: str
    name: str
    files: tuple[Path, ...]
    label: Path | None = None

    @staticmethod
    def of(name: str, files: tuple[Path, ...], label: Path | None = None) -> ServedScan:
        """Return the scan of some files."""
        text = "\n".join(str(path.absolute()) for path in files)
        own = hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()
        return ServedScan(id=own, name=name, files=files, label=label)

    @property
    def stem(self) -> str:
        """The name without its ending, fit for a file."""
        return slug(volumes.stem(Path(self.name.replace("/", "_"))))

    def stamps(self) -> list[list[int]]:
        """Return size and time of change of each file; Refused where one is gone."""
        try:
            states = [path.stat() for path in self.files]
        except OSError as error:
            raise self._gone(error.strerror or "no such file") from error
        return [[state.st_size, state.st_mtime_ns] for state in states]

    def check_unchanged(self, stamps: list[list[int]]) -> None:
        """Raise Refused unless the files are still those of which these are the stamps."""
        if self.stamps() != stamps:
            raise self._gone("another file of that name")

    def _gone(self, found: str) -> Refused:
        return Refused(
            410, expected=f"the scan {self.name}, as it was opened", found=found, do="put it back, or open another scan"
        )

    def read_grid(self) -> Grid:
        """Read where its voxels lie; Refused where it is gone, UserError where it is no scan."""
        self.stamps()
        return volumes.read_grid(self.files[0])

    def read(self) -> Volume:
        """Read its voxels, as `volumes.read_channels`."""
        self.stamps()
        return volumes.read_channels(self.files)

    def geometry(self) -> Path | Grid:
        """Return what a mask as NIfTI takes its geometry from: the file, or the grid of another format."""
        return self.files[0] if nifti.is_nifti(self.files[0]) else self.read_grid()


class ScanList:
    """All scans by their id.

    Args:
        inputs: a folder, pattern or list; None for none.
        uploads: the folder that uploaded files go to.
        output: the folder of masks, in which no scans are looked for.
        channels: of a scan.
    """

    def __init__(self, inputs: Path | None, *, uploads: Path, output: Path, channels: int) -> None:
        self.uploads, self._lock = uploads, Lock()
        found = [] if inputs is None else _found(inputs, output, channels)
        uploaded = sorted(path for path in uploads.glob("*/[!.]*") if volumes.is_named(path))
        found += [ServedScan.of(path.name, (path,)) for path in uploaded]
        self._scans: Mapping[str, ServedScan] = {scan.id: scan for scan in found}

    def all(self) -> list[ServedScan]:
        """Return them in order."""
        return list(self._scans.values())

    def find(self, scan: str) -> ServedScan:
        """Return a scan by its id; Refused where there is none."""
        if scan not in self._scans:
            raise Refused(404, expected="the id of a scan", found=repr(scan)[:60], do="see the list of scans")
        return self._scans[scan]

    def place_for(self, name: str) -> Path:
        """Return where a file of this name is uploaded to: a folder of its own, whatever the name says.

        Raises:
            Refused: a name that is no scan's.
        """
        last = name.replace("\\", "/").rsplit("/", 1)[-1]
        ending = next((ending for ending in volumes.SUFFIXES if last.lower().endswith(ending)), None)
        if ending is None or last.startswith(".") or name != last or not last.isprintable():
            raise Refused(
                415 if ending is None else 422,
                expected=f"the name of a file ending in {', '.join(volumes.SUFFIXES)}, without a folder",
                found=repr(name)[:80],
                do="give it such a name",
            )
        plain = slug(last[: -len(ending)]) + ending
        with self._lock:
            number = next(n for n in count(1) if not (self.uploads / f"{n:04d}").exists())
            make_folder(self.uploads / f"{number:04d}")
        return self.uploads / f"{number:04d}" / plain

    def add(self, path: Path) -> ServedScan:
        """Add a file that was uploaded; it is taken away where it is no scan, with a UserError."""
        try:
            volumes.read_channels([path])
        except Exception:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()
            raise
        scan = ServedScan.of(path.name, (path,))
        with self._lock:
            self._scans = {**self._scans, scan.id: scan}
        return scan

    def add_array(self, volume: Volume, name: str) -> ServedScan:
        """Add voxels that came without a file as NIfTI files of this name, one a channel; a session checks them."""
        first = self.place_for(f"{name}.nii")
        channels = volume.channels()
        files = [first, *(first.with_name(f"{name}_{c}.nii") for c in range(1, len(channels)))]
        for path, channel in zip(files, channels, strict=True):
            nifti.write_new(path, channel)
        scan = ServedScan.of(first.name, tuple(files))
        with self._lock:
            self._scans = {**self._scans, scan.id: scan}
        return scan

    def remove(self, scan: str) -> None:
        """Delete a scan that was uploaded, with its files."""
        with self._lock:
            found = self._scans.get(scan)
            self._scans = {own: one for own, one in self._scans.items() if own != scan}
        if found is not None and self.uploads in found.files[0].parents:
            with suppress(OSError):
                shutil.rmtree(found.files[0].parent)


def _found(inputs: Path, output: Path, channels: int) -> list[ServedScan]:
    """Return the scans of an input; the labels of a data set are none, but known to the scan that they belong to."""
    if is_dicom(inputs) or (volumes.is_named(inputs) and inputs.is_file()):
        scans = [Scan(inputs.name + (".nii.gz" if is_dicom(inputs) else ""), inputs)]
    else:
        scans = find_scans(inputs, output=output, channels=channels)
    labels, masks = _labels(inputs, scans)
    kept = [scan for scan in scans if scan.path.resolve() not in masks]
    folders = [str(PurePosixPath(scan.name).parent) for scan in kept]
    above = len(PurePosixPath(os.path.commonpath(folders)).parts) if folders else 0
    return [
        ServedScan.of(
            "/".join(PurePosixPath(scan.name).parts[above:]),
            scan.files,
            labels.get(scan.path.resolve()),
        )
        for scan in kept
    ]


def _labels(inputs: Path, scans: Sequence[Scan]) -> tuple[dict[Path, Path], set[Path]]:
    """Return the label of each scan that has one, by its first file, and every file that is a label and so no scan.

    Data sets are read as for training. In a folder that is none, a list of cases says what belongs together, then the
    names of the files do.
    """
    beside = labels_beside(scan.path for scan in scans)
    labels = {image.resolve(): label for label, image in beside.items()}
    masks = {path.resolve() for path in beside}
    for case in _cases(inputs):
        masks.update(path.resolve() for path in case.label_files)
        if case.masks is None and case.label.is_file():
            labels[case.image.resolve()] = case.label
    return labels, masks


def _cases(inputs: Path) -> Sequence[Case]:
    """Return the cases of an input that is a data set, a list of cases, or a folder with such a list in it."""
    if is_dicom(inputs) or not (inputs.is_dir() or inputs.suffix.lower() in _LISTS):
        return ()
    lists = sorted(path for path in inputs.glob("[!.]*") if path.suffix.lower() in _LISTS) if inputs.is_dir() else []
    for place in (inputs, *lists):
        with suppress(UserError):
            return read_cases(place).cases
    return ()
