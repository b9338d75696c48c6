"""The manifest of many scans: what happened to each, in order; one file, and parts while several processes write.

`manifest.jsonl` has a line when a scan is begun, when its files are being written and when it is done or has failed.
It records the SHA-256 of what was written: a mask that was corrected by hand has another, and is never replaced
unasked. A process that is not alone writes a part of its own, `.segfocal.parts/NAME.jsonl`, which joins the file at its
end; until then whoever reads the manifest reads the parts too. In memory a scan takes some hundred bytes: the rest of
its line is read again when it is needed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import segfocal
from segfocal.errors import UserError
from segfocal.files import sha256_of
from segfocal.io import volumes
from segfocal.predict.inputs import Scan
from segfocal.predict.manifest_entries import (
    Entry,
    Heading,
    append,
    end_last_line,
    entry_at,
    heading_of,
    headings_from,
    line_of,
    short_of,
)
from segfocal.predict.options import PredictOptions

MANIFEST = "manifest.jsonl"
PARTS = ".segfocal.parts"


class _Record(NamedTuple):
    """The heading of a scan's last line, and the file that it stands in."""

    state: str
    signature: str
    input: bytes
    line: bytes
    file: Path
    start: int


class Manifest:
    """What happened to each scan.

    Args:
        folder: of the masks.
        signature: of bundles and options.
        part: the name of the part that this process writes; None for the file itself.
    """

    def __init__(self, folder: Path, signature: str, *, part: str | None = None) -> None:
        self.folder, self.signature, self.name = folder, signature, part or "all"
        self.path = folder / MANIFEST if part is None else part_file(folder, part)
        self._last: dict[str, _Record] = {}
        self._at: dict[Path, int] = {}  # bytes read of each file
        self._in_work: dict[str, Entry] = {}  # the last lines of scans that are begun and not ended
        self._failed_before = set[str]()

    def read(self) -> None:
        """Read what there is.

        Raises:
            UserError: lines that no run of ours wrote.
        """
        for file in [self.folder / MANIFEST, *part_files(self.folder)]:
            self._read_on(file)
        if self.path.is_file():
            end_last_line(self.path)
            self._at[self.path] = self.path.stat().st_size
        self._failed_before = {name for name, record in self._last.items() if record.state == "failed"}

    def refresh(self) -> None:
        """Read what other processes have written since; parts first, as one joins the file before it goes."""
        for file in [*part_files(self.folder), self.folder / MANIFEST]:
            if file != self.path:
                self._read_on(file)

    def _read_on(self, file: Path) -> None:
        if file.exists():
            with suppress(FileNotFoundError):
                for heading in headings_from(file, self._at.get(file, 0), growing=file != self.path):
                    self._note(heading, file)
                    self._at[file] = heading.end

    def _note(self, heading: Heading, file: Path) -> None:
        if self._is_outdated(heading, file):
            return
        state, signature = sys.intern(heading.state), sys.intern(heading.signature)
        self._last[heading.name] = _Record(state, signature, heading.input, heading.line, file, heading.start)
        self._failed_before.discard(heading.name)

    def _is_outdated(self, heading: Heading, file: Path) -> bool:
        """Say whether another file has more: that the same scan is done, or this very line.

        So it is of a process that was killed at it, and of lines of a worker that have joined the file already. A mask
        that was made again, as its user had taken it away, has another line.
        """
        record = self._last.get(heading.name)
        if record is None or record.state != "done" or file in (record.file, self.path):
            return False
        if (record.signature, record.input) != (heading.signature, heading.input):
            return False
        return heading.state != "done" or heading.line == record.line

    def entry(self, name: str) -> Entry | None:
        """Return the last line of a scan; None where there is none."""
        if name in self._in_work:
            return self._in_work[name]
        record = self._last.get(name)
        return None if record is None else self._entry_in(record, name)

    def _entry_in(self, record: _Record, name: str) -> Entry:
        try:
            return entry_at(record.file, record.start, name)
        except FileNotFoundError:  # a part that has joined the file since
            self._read_on(self.folder / MANIFEST)
            again = self._last[name]
            return entry_at(again.file, again.start, name)

    def hold(self, entry: Entry) -> None:
        """Take a line that another process read as the last one of its scan."""
        self._in_work[entry["name"]] = entry

    def is_settled(self, scan: Scan, output: Path, *, retry: bool) -> bool:
        """Say whether a scan was done, or has failed and is not to be tried again, as it is and by the same options.

        What failed after this process began is not tried again.
        """
        record = self._last.get(scan.name)
        if record is None or record.signature != self.signature or record.input != short_of(state_of(*scan.files)):
            return False
        if record.state == "failed":
            return not retry or scan.name not in self._failed_before
        return record.state == "done" and output.is_file()

    def has_failed(self, name: str) -> bool:
        """Say whether the last line of a scan is that it failed."""
        return name in self._last and self._last[name].state == "failed"

    def message(self, name: str) -> str:
        """Return why a scan failed."""
        entry = self.entry(name)
        return entry["message"] if entry else ""

    def trusts(self, scan: Scan) -> bool:
        """Say whether files of a scan are ours though not recorded.

        So are those of a run that was killed while it wrote, and all of a manifest of a version that recorded none.
        """
        entry = self.entry(scan.name)
        return entry is not None and ("sha256" not in entry or self.was_interrupted(scan))

    def was_interrupted(self, scan: Scan) -> bool:
        """Say whether a run that was killed had begun to write files of a scan."""
        entry = self.entry(scan.name)
        return entry is not None and entry["state"] == "writing"

    def is_ours(self, scan: Scan, files: Sequence[Path]) -> bool:
        """Say whether files of a scan are there, all as a run wrote them; one changed since is the user's."""
        entry = self.entry(scan.name)
        if entry is None or self.trusts(scan):
            return entry is not None
        there = hashes(files)
        return bool(there) and there.items() <= entry["sha256"].items()

    def note_passed_over(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a line, of no scan, on what was passed over, unless an earlier one says the same."""
        entry = {"name": "", "state": "passed over", "input": [], "signature": self.signature, "passed_over": rows}
        if rows and self.entry("") != entry:
            self._write(entry)

    def add(self, scan: Scan, *, state: str, sha256: Mapping[str, str] | None = None, **facts: Any) -> None:
        """Write that a scan is begun, writing, done or failed, and any facts.

        sha256: of files that were written, by name; those of the line before are carried on.
        """
        before = self.entry(scan.name) or {"sha256": {}}
        recorded = {**before.get("sha256", {}), **(sha256 or {})}
        entry = {
            "name": scan.name,
            "state": state,
            "input": state_of(*scan.files),
            "signature": self.signature,
            **({"sha256": recorded} if recorded or state in ("begun", "done") or "sha256" in before else {}),
            **facts,
        }
        self._write(entry)

    def _write(self, entry: Entry) -> None:
        """Write a line, on disk before this returns."""
        self.path.parent.mkdir(exist_ok=True)
        line = line_of(entry)
        start = append(self.path, line)
        self._note(heading_of(entry, line, start), self.path)
        self._in_work[entry["name"]] = entry
        if entry["state"] not in ("begun", "writing"):
            del self._in_work[entry["name"]]

    def absorb(self, file: Path, *, from_start: bool = False) -> None:
        """Write the lines of a part that are new, or all of them, as one's own."""
        begin = 0 if from_start else self._at.get(file, 0)
        if file.exists():
            for heading in list(headings_from(file, begin, growing=True)):
                if not self._is_outdated(heading, file):
                    self._write(entry_at(file, heading.start, heading.name))
                self._at[file] = heading.end


def part_file(folder: Path, name: str) -> Path:
    """Return the file of a part of the manifest in a folder of masks."""
    return folder / PARTS / f"{name}.jsonl"


def part_files(folder: Path) -> list[Path]:
    """Return the parts that are there, the one that was written to last at the end."""
    found: list[tuple[int, Path]] = []
    for file in (folder / PARTS).glob("*.jsonl"):
        with suppress(FileNotFoundError):
            found.append((file.stat().st_mtime_ns, file))
    return [file for _, file in sorted(found)]


def hashes(files: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of those files that are there, by name."""
    return {file.name: sha256_of(file) for file in files if file.is_file()}


def state_of(*paths: Path) -> list[Any]:
    """Return what changes when one of the files does, or a slice of a folder."""
    facts: list[Any] = []
    for path in paths:
        try:
            states = [file.stat() for file in volumes.files_of(path)]
        except (OSError, UserError):
            facts += [str(path.absolute()), None, None]
        else:
            size, changed = sum(one.st_size for one in states), max(one.st_mtime_ns for one in states)
            facts += [str(path.absolute()), size, changed]
    return facts


def signature_of(options: PredictOptions) -> str:
    """Return a name for all that makes a mask of a scan: the bundles' files and the options."""
    files = [state_of(path / name) for path in options.bundles for name in ("bundle.json", "model.safetensors")]
    outputs = replace(options.outputs, mask=Path(), overwrite=False)
    about = [asdict(outputs), asdict(options.sliding), options.postprocess]
    told = json.dumps([segfocal.__version__, files, about], default=str, sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
