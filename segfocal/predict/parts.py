"""Several commands that fill one folder at the same time: each its part of the scans, or each whatever is still free.

Who works is told by leases, files that their holder renews: any file system on which a file can be created exclusively
will do, as NFS, SMB, Lustre and GPFS. One whose holder has died is free after a minute.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import SoftFileLease, Timeout

from segfocal.errors import UserError
from segfocal.files import make_folder
from segfocal.folder_lock import only_one
from segfocal.predict.inputs import Scan
from segfocal.predict.manifest import MANIFEST, PARTS, Manifest, part_files
from segfocal.predict.manifest_entries import append

LEASE_SECONDS = 60.0  # after which one that was not renewed is another's
_MOST_PARTS = 10**6
_MERGE = "merge"
_DOING = "segment many scans"


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which of the scans a command segments, while others do the rest.

    Args:
        number: of the part, from 1; None: whatever scan no other command has claimed.
        count: of parts.
    """

    number: int | None = None
    count: int = 1

    @classmethod
    def of(cls, text: str) -> Part:
        """Return the part of an option, 3/16 or auto; UserError for another text."""
        found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text)
        if text == "auto":
            return cls()
        if not found or not 1 <= int(found[1]) <= int(found[2]) <= _MOST_PARTS:
            raise UserError(
                expected="part=auto or part=NUMBER/COUNT, as part=1/16 to part=16/16",
                found=f"part={text}",
                do="change that option",
            )
        return cls(number=int(found[1]), count=int(found[2]))

    def chosen(self, scans: Sequence[Scan]) -> Sequence[Scan]:
        """Return the scans of this part: every count-th, so that the parts of one list hold each scan once."""
        return scans if self.number is None else scans[self.number - 1 :: self.count]

    @property
    def name(self) -> str:
        """Return the name of the part of the manifest that it writes; one of auto is like no other."""
        if self.number is not None:
            return f"{self.number}_of_{self.count}"
        host = re.sub(r"[^\w.]", "_", socket.gethostname())[:40]
        return f"auto_{host}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


@contextmanager
def own_manifest(folder: Path, signature: str, part: Part | None) -> Iterator[Manifest]:
    """Hold a folder of masks, or a part in it; yield the manifest, which is whole when the block ends.

    Args:
        folder: which; it is made where it is missing.
        signature: of bundles and options.
        part: None where no other command may be at work.

    Raises:
        UserError: another command at work there, a folder that cannot be written, a manifest of another program.
    """
    make_folder(folder)
    if part is None:
        with only_one(folder, doing=_DOING):
            manifest = Manifest(folder, signature)
            manifest.read()
            for file in part_files(folder):
                with _held(folder, _owner(file), found="a segfocal process at work on part {}"):
                    _join(manifest, file)
            yield manifest
            _tidy(folder)
        return
    name = part.name
    make_folder(folder / PARTS)
    with _held(folder, name, found="another segfocal process at work on part {}"):
        with only_one(folder, doing=_DOING):  # refused while one without a part is at work
            pass
        manifest = Manifest(folder, signature, part=name)
        manifest.read()
        for file in part_files(folder):
            if _owner(file) == name and file != manifest.path:  # of workers that were killed
                _join(manifest, file)
        try:
            yield manifest
        finally:
            _append_to_whole(folder, manifest.path)
    _tidy(folder)


def worker_part(manifest: Manifest, name: str) -> str:
    """Return the name of the part that a worker writes for the command whose manifest this is."""
    return f"{manifest.name}--{name}"


def worker_files(manifest: Manifest) -> list[Path]:
    """Return the parts that workers of the command of this manifest have written."""
    return [file for file in part_files(manifest.folder) if "--" in file.stem and _owner(file) == manifest.name]


class Claims:
    """Names that one process at a time holds, of all that share a folder.

    Args:
        folder: of the masks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / PARTS / "claims"
        self.leases: dict[str, SoftFileLease] = {}

    def take(self, name: str) -> bool:
        """Take a name; False where another process holds it. Asking again later finds out whether that one lives."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{hashlib.blake2b(name.encode(errors='surrogatepass'), digest_size=12).hexdigest()}.lease"
        lease = self.leases.setdefault(name, _lease(path))
        try:
            lease.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def release(self, name: str) -> None:
        """Give up a name that this process holds."""
        self.leases.pop(name).release()

    def release_all(self) -> None:
        """Give up all names."""
        for name in list(self.leases):
            self.release(name)
        with suppress(OSError):
            self.folder.rmdir()


def _lease(path: Path) -> SoftFileLease:
    return SoftFileLease(path, lease_duration=LEASE_SECONDS, thread_local=False, poll_interval=0.5)


@contextmanager
def _held(folder: Path, name: str, *, found: str) -> Iterator[None]:
    """Hold the lease of a part; UserError where another process keeps it for longer than a dead one would."""
    lease = _lease(folder / PARTS / f"{name}.lease")
    try:
        lease.acquire(timeout=2 * LEASE_SECONDS if name != _MERGE else 10 * LEASE_SECONDS)
    except Timeout as error:
        raise UserError(
            expected=f"a folder in which nothing else runs, to {_DOING}",
            found=found.format(name.replace("_of_", "/")),
            where=folder,
            do="wait until it has ended, or choose another part or folder",
        ) from error
    try:
        yield
    finally:
        lease.release()


def _owner(file: Path) -> str:
    """Return the name of the part whose command wrote a file, itself or by a worker."""
    return file.stem.partition("--")[0]


def _join(manifest: Manifest, file: Path) -> None:
    """Write the lines of a part that nobody writes any more as those of a manifest, and take it away."""
    manifest.absorb(file, from_start=True)
    file.unlink(missing_ok=True)


def _append_to_whole(folder: Path, file: Path) -> None:
    """Append a part that is complete to the manifest, and take it away."""
    if not file.is_file():
        return
    with _held(folder, _MERGE, found="another process that merges manifests"):
        append(folder / MANIFEST, file.read_bytes())
        file.unlink()


def _tidy(folder: Path) -> None:
    """Take away the folder of parts where nothing is in it."""
    with suppress(OSError):
        (folder / PARTS).rmdir()
