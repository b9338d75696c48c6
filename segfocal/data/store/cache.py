"""The folder of prepared cases: how each is named, where it is made, which are stale, what they take.

The name of a case's folder holds the signature of its files and of every setting that shaped it, so a changed setting
never reads stale slices. Cases are made in a workplace, a hidden folder that its run holds locked, and renamed when
whole: a killed run leaves none half-made, and the next one clears its workplace away.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from segfocal.data import dicom_labels
from segfocal.data.case import Case
from segfocal.data.store.prepared_case import Preparation
from segfocal.errors import UserError
from segfocal.files import read_json
from segfocal.intensity import describe
from segfocal.io import volumes
from segfocal.plain_names import fit_name

try:
    import fcntl
except ImportError:  # Windows has none: there the age of a workplace tells
    fcntl = None  # type: ignore[assignment]

FORMAT = 2  # raise when what is stored changes meaning
META = "case.json"
_STORED = (".b2nd", ".npz", ".npy")  # suffixes, those of earlier versions too
_SUFFIX = ".preparing"
_FORGOTTEN = 24 * 3600  # seconds after which a workplace that cannot be locked belongs to nobody


def folder_of(cache: Path, case: Case, preparation: Preparation) -> Path:
    """Return where the prepared case lies, once it is."""
    return cache / f"{fit_name(case.name)}-{_signature(case, preparation)}"


def files_of(case: Case) -> list[tuple[str, int, int]]:
    """Return the path, bytes and time of last change (ns) of each file of a case; of a DICOM series its slices."""
    paths = [file.resolve() for path in (*case.images, *case.label_files) for file in volumes.files_of(path)]
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


def _signature(case: Case, preparation: Preparation) -> str:
    settings: dict[str, Any] = {
        "format": FORMAT,
        "files": files_of(case),
        "grid": asdict(preparation.grid),
        "intensity": describe(preparation.intensity),
        "values": [structure.value for structure in preparation.structures],
        "crop": preparation.crop,
        **dicom_labels.settings(case),
        **case.scheme.signed(),
    }
    if preparation.components:
        settings["components"] = True
    if case.masks is not None:
        settings["masks"] = ["apart"] if preparation.by_object else [mask.value for mask in case.masks]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def workplace(cache: Path) -> Iterator[Path]:
    """Yield a folder in `cache` to make cases in, locked while the block lasts, and clear those of killed runs away."""
    for left in cache.glob(f".*{_SUFFIX}"):
        if re.fullmatch(r"\.[0-9a-f]{8}", left.stem) and _belongs_to_nobody(left):
            shutil.rmtree(left, ignore_errors=True)
    place = cache / f".{uuid.uuid4().hex[:8]}{_SUFFIX}"
    place.mkdir()
    try:
        with (place / "new").open("w") as file:
            if _lock(file):
                (place / "new").rename(place / "lock")  # locked before it can be seen
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _lock(file: IO[str]) -> bool:
    """Lock an open file until it is closed or its process ends, however; False where that is not possible."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, AttributeError):  # held by another run, a file system without locks, or Windows
        return False
    return True


def _belongs_to_nobody(place: Path) -> bool:
    try:
        if time.time() - place.stat().st_mtime > _FORGOTTEN:
            return True
        with (place / "lock").open("r+") as file:
            return _lock(file)
    except OSError:  # just made, or cleared away by another run
        return False


def stale(cache: Path) -> list[Path]:
    """Return the prepared cases that no run reads any more: a file changed or gone, or made by an older version."""
    if not cache.is_dir():
        return []
    return sorted(folder for folder in cache.iterdir() if _is_prepared(folder) and not _is_current(folder))


def _is_prepared(folder: Path) -> bool:
    """Return whether a folder is one of ours, by its name and its files: a user's may hold a case.json too."""
    if not re.fullmatch(r".+-[0-9a-f]{16}", folder.name, re.DOTALL) or not (folder / META).is_file():
        return False
    return all(file.name == META or file.suffix in _STORED for file in folder.iterdir())


def _is_current(folder: Path) -> bool:
    try:
        meta = read_json(folder / META)
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            return False
        now = [Path(path).stat() for path, _, _ in meta["files"]]
        return [[file.st_size, file.st_mtime_ns] for file in now] == [file[1:] for file in meta["files"]]
    except (UserError, OSError, KeyError, TypeError, ValueError):
        return False


def remove(folders: Iterable[Path]) -> None:
    """Remove prepared cases: the file that makes each one first, so that none is ever seen half removed."""
    for folder in folders:
        (folder / META).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def bytes_of(folders: Iterable[Path]) -> int:
    """Return what prepared cases take on disk."""
    return sum(file.stat().st_size for folder in folders for file in folder.iterdir())
