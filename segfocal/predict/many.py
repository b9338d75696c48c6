"""Many scans: read, segmented and written at the same time, each on its own; one that fails never stops the rest.

The output folder keeps `manifest.jsonl`, a line when a scan is begun, when its files are being written and when it is
done or has failed, so that the same command after a kill makes only what is missing. It records the SHA-256 of what was
written: a mask that was corrected by hand has another, and is never replaced unasked.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import segfocal
from segfocal.errors import UserError
from segfocal.files import check_apart, make_folder, sha256_of
from segfocal.grid import Volume
from segfocal.inference.bundle import read_structure_names
from segfocal.inference.predictor import Predictor
from segfocal.io import passed_over, volumes
from segfocal.memory import forget_peak, peak_gib
from segfocal.predict.inputs import Scan, read_scan
from segfocal.predict.manifest_entries import Entry, LastEntries
from segfocal.predict.options import PredictOptions
from segfocal.predict.outputs import OutputFiles, check_outputs, files_read, files_written
from segfocal.predict.predict import load_predictor, segment_scan, write_prediction

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Summary:
    """How many scans were segmented, had their mask already, and failed; of the last the messages by name."""

    done: int
    kept: int
    failed: dict[str, str]

    @property
    def none_done(self) -> bool:
        """Whether not one scan has a mask, now or from before."""
        return self.done + self.kept == 0 and bool(self.failed)


def predict_many(
    options: PredictOptions,
    scans: Sequence[Scan],
    *,
    passed: Sequence[passed_over.PassedOver] = (),
    retry: bool = True,
    say: Callable[[str], None] = print,
) -> Summary:
    """Segment scans into the folder `outputs.mask`, each under its own name; say a line for each and a summary.

    While one scan is segmented the next is read and the one before written. A scan that was done by the same bundle and
    options is kept as it is.

    Args:
        options: of all of them.
        scans: to segment.
        passed: what lies beside them and is not segmented; the manifest holds it.
        retry: whether those are tried again that failed before.
        say: takes each line.

    Raises:
        UserError: options that cannot hold for many scans, an output that would replace an input or another output, a
            bundle that cannot be loaded, an unwritable folder.
    """
    if options.prompts is not None:
        raise UserError(
            expected="no prompts for many scans", found="prompt or prompts", do="segment prompted scans one by one"
        )
    folder = options.outputs.mask
    _check_apart(options, scans)
    make_folder(folder)
    manifest = _Manifest(folder / MANIFEST, _signature(options))
    kept, todo = _parted(scans, manifest, folder, retry=retry)
    manifest.note_passed_over(passed_over.rows(passed, options.scan))
    say(f"{len(scans)} scans: {len(kept)} done before, {len(todo)} to do")
    failed = {scan.name: entry["message"] for scan in kept if _failed(entry := manifest.last[scan.name])}
    done = 0
    if todo:
        predictor = load_predictor(options)
        line = _AssemblyLine(predictor, options, manifest, say)
        done, now_failed = line.run(todo)
        failed |= now_failed
    for kind, count in Counter(message.split(";")[0] for message in failed.values()).most_common():
        say(f"  {count} failed: {kind}")
    summary = Summary(done=done, kept=len(scans) - done - len(failed), failed=failed)
    say(f"{done} done, {summary.kept} kept, {len(failed)} failed: {folder / MANIFEST}")
    return summary


def _parted(scans: Sequence[Scan], manifest: _Manifest, folder: Path, *, retry: bool) -> tuple[list[Scan], list[Scan]]:
    """Return the scans that are settled, and those to do."""
    kept: list[Scan] = []
    todo: list[Scan] = []
    for scan in scans:
        (kept if manifest.is_settled(scan, folder / scan.name, retry=retry) else todo).append(scan)
    return kept, todo


def _check_apart(options: PredictOptions, scans: Sequence[Scan]) -> None:
    """Raise UserError when a file that any scan leads to is an input, that of another scan or outside the folder."""
    folder, names = options.outputs.mask, read_structure_names(options.bundles[0])
    masks = [replace(options.outputs, mask=folder / scan.name) for scan in scans]
    written = [folder / MANIFEST, *(path for mask in masks for path in OutputFiles.of(mask, names).all)]
    read = files_read(replace(options, inputs=tuple(file for scan in scans for file in scan.files)))
    check_apart(written, [*options.inputs, *read])
    for scan in scans:
        if not (folder / scan.name).parent.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                expected="folders inside output",
                found="a link that leads out of it",
                where=(folder / scan.name).parent,
                do="choose another output",
            )


class _AssemblyLine:
    """The assembly line: one thread reads, the caller's segments, one writes."""

    def __init__(
        self, predictor: Predictor, options: PredictOptions, manifest: _Manifest, say: Callable[[str], None]
    ) -> None:
        self.predictor, self.options, self.manifest, self.say = predictor, options, manifest, say
        self.done, self.count = 0, 0
        self.failed: dict[str, str] = {}

    def run(self, scans: Sequence[Scan]) -> tuple[int, dict[str, str]]:
        self.count = len(scans)
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            coming: Future[Volume] = reader.submit(self._read, scans[0])
            writing: Future[None] | None = None
            for index, scan in enumerate(scans):
                reading = coming
                if index + 1 < len(scans):
                    coming = reader.submit(self._read, scans[index + 1])
                writing = self._segment(scan, reading, writer, writing)
            if writing:
                writing.result()
        return self.done, self.failed

    def _own(self, scan: Scan) -> PredictOptions:
        """Return the options of one scan. What an earlier or interrupted run of ours left of it may be replaced."""
        outputs = replace(self.options.outputs, mask=self.options.outputs.mask / scan.name)
        own = replace(self.options, inputs=scan.files, outputs=outputs)
        ours = outputs.overwrite or self.manifest.is_ours(scan, files_written(own))
        return replace(own, outputs=replace(outputs, overwrite=ours))

    def _read(self, scan: Scan) -> Volume:
        scan.check_complete()
        own = self._own(scan)
        check_outputs(own)
        return read_scan(own, self.predictor.bundle)

    def _segment(
        self, scan: Scan, reading: Future[Volume], writer: ThreadPoolExecutor, writing: Future[None] | None
    ) -> Future[None] | None:
        """Segment a scan when it is read and hand it to the writer; return what is being written."""
        started = time.monotonic()
        forget_peak()
        try:
            own = self._own(scan)
            read = reading.result()
            left = _hashes(files_written(own)) if self.manifest.trusts(scan) else {}
            self.manifest.add(scan, state="begun", sha256=left)
            prediction = segment_scan(self.predictor, own, read)
        except Exception as error:
            self._fail(scan, error, started)
            return writing
        if writing:
            writing.result()  # one at a time: no more than three scans are in memory

        def write() -> None:
            written: list[Path] = []
            try:
                now = self._own(scan)  # again: a mask may have been corrected since
                check_outputs(now)
                written = files_written(now)
                self.manifest.add(scan, state="writing")
                report = write_prediction(self.predictor, now, prediction, started=started)
            except Exception as error:
                self._fail(scan, error, started, written)
                return
            self.done += 1
            self._tell(scan, "done", started, sha256=_hashes(written))
            if "warning" in report:
                self.say(f"  warning: {scan.name}: {report['warning']}")

        return writer.submit(write)

    def _fail(self, scan: Scan, error: Exception, started: float, written: Sequence[Path] = ()) -> None:
        if isinstance(error, UserError):
            message = str(error)
        else:
            message = f"a fault in segfocal: {''.join(traceback.format_exception_only(error)).strip()}"
        self.failed[scan.name] = message
        self._tell(scan, "failed", started, message=message, sha256=_hashes(written))

    def _tell(self, scan: Scan, state: str, started: float, **more: Any) -> None:
        seconds = round(time.monotonic() - started, 2)
        self.manifest.add(scan, state=state, seconds=seconds, peak_gib=round(peak_gib(), 3), **more)
        number = self.done + len(self.failed)
        self.say(f"[{number}/{self.count}] {scan.name}: {more.get('message', f'{seconds:.1f} s')}")


class _Manifest:
    """The manifest: what happened to each scan, in the order it happened."""

    def __init__(self, path: Path, signature: str) -> None:
        self.signature, self.last = signature, LastEntries(path)

    def is_settled(self, scan: Scan, output: Path, *, retry: bool) -> bool:
        """Say whether a scan was done, or has failed and is not to be tried again, as it is and by the same options."""
        entry = self.last.get(scan.name)
        if entry is None or entry["signature"] != self.signature or entry["input"] != _state_of(*scan.files):
            return False
        return (entry["state"] == "done" and output.is_file()) or (_failed(entry) and not retry)

    def trusts(self, scan: Scan) -> bool:
        """Say whether files of a scan are ours though not recorded.

        So are those of a run that was killed while it wrote, and all of a manifest of a version that recorded none.
        """
        entry = self.last.get(scan.name)
        return entry is not None and ("sha256" not in entry or entry["state"] == "writing")

    def is_ours(self, scan: Scan, files: Sequence[Path]) -> bool:
        """Say whether files of a scan are there, all as a run wrote them; one changed since is the user's."""
        if scan.name not in self.last or self.trusts(scan):
            return scan.name in self.last
        there = _hashes(files)
        return bool(there) and there.items() <= self.last[scan.name]["sha256"].items()

    def note_passed_over(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a line, of no scan, on what was passed over, unless an earlier one says the same."""
        entry = {"name": "", "state": "passed over", "input": [], "signature": self.signature, "passed_over": rows}
        if rows and self.last.get("") != entry:
            self.last.add(entry)

    def add(self, scan: Scan, *, state: str, sha256: Mapping[str, str] | None = None, **facts: Any) -> None:
        """Write that a scan is begun, writing, done or failed, and any facts.

        sha256: of files that were written, by name; those of the line before are carried on.
        """
        before = self.last.get(scan.name, {"sha256": {}})
        recorded = {**before.get("sha256", {}), **(sha256 or {})}
        entry = {
            "name": scan.name,
            "state": state,
            "input": _state_of(*scan.files),
            "signature": self.signature,
            **({"sha256": recorded} if recorded or state in ("begun", "done") or "sha256" in before else {}),
            **facts,
        }
        self.last.add(entry)


def _failed(entry: Entry) -> bool:
    return entry["state"] == "failed"


def _hashes(files: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of those files that are there, by name."""
    return {file.name: sha256_of(file) for file in files if file.is_file()}


def _state_of(*paths: Path) -> list[Any]:
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


def _signature(options: PredictOptions) -> str:
    """Return a name for all that makes a mask of a scan: the bundles' files and the options."""
    files = [_state_of(path / name) for path in options.bundles for name in ("bundle.json", "model.safetensors")]
    outputs = replace(options.outputs, mask=Path(), overwrite=False)
    about = [asdict(outputs), asdict(options.sliding), options.postprocess]
    told = json.dumps([segfocal.__version__, files, about], default=str, sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
