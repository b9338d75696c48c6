"""Many scans: read, segmented and written at the same time, each on its own; one that fails never stops the rest.

The output folder keeps `manifest.jsonl`, a line when a scan is begun and one when it is done or has failed, so that the
same command after a kill makes only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import segfocal
from segfocal.errors import UserError
from segfocal.files import make_folder
from segfocal.grid import Volume
from segfocal.inference.predictor import Predictor
from segfocal.io import volumes
from segfocal.memory import forget_peak, peak_gib
from segfocal.predict.inputs import Scan
from segfocal.predict.predict import Job, check_job, make_predictor, read_scan, segment_scan, write_answer

MANIFEST = "manifest.jsonl"

Entry = dict[str, Any]


@dataclass(frozen=True)
class Summary:
    """How many scans were segmented, were there already, and failed; the messages of the last by name."""

    done: int
    kept: int
    failed: dict[str, str]


def predict_many(job: Job, scans: Sequence[Scan], *, retry: bool = True, say: Callable[[str], None] = print) -> Summary:
    """Segment scans into the folder `job.output`, each under its own name; say a line for each and a summary.

    While one scan is segmented the next is read and the one before written. A scan that was done by the same bundle and
    options is kept as it is; one that failed before is tried again if `retry`.

    Raises:
        UserError: options that cannot hold for many scans, a bundle that cannot be loaded, an unwritable folder.
    """
    if job.is_prompted:
        raise UserError(
            expected="no prompts for many scans", found="prompt or prompts", do="segment prompted scans one by one"
        )
    make_folder(job.output)
    record = _Record(job.output / MANIFEST, _signature(job))
    kept = [scan for scan in scans if record.is_settled(scan, job.output / scan.name, retry=retry)]
    todo = [scan for scan in scans if scan not in kept]
    say(f"{len(scans)} scans: {len(kept)} settled before, {len(todo)} to do")
    failed = {scan.name: record.last[scan.name]["message"] for scan in kept if _failed(record.last[scan.name])}
    done = 0
    if todo:
        predictor = make_predictor(job)
        line = _Line(predictor, job, record, say)
        done, now_failed = line.run(todo)
        failed |= now_failed
    for kind, count in Counter(message.split(";")[0] for message in failed.values()).most_common():
        say(f"  {count} failed: {kind}")
    say(
        f"{done} done, {len(kept) - len(set(failed) & {s.name for s in kept})} kept, {len(failed)} failed: "
        f"{job.output / MANIFEST}"
    )
    return Summary(done=done, kept=len(kept), failed=failed)


class _Line:
    """The assembly line: one thread reads, the caller's segments, one writes."""

    def __init__(self, predictor: Predictor, job: Job, record: _Record, say: Callable[[str], None]) -> None:
        self.predictor, self.job, self.record, self.say = predictor, job, record, say
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

    def _own(self, scan: Scan) -> Job:
        """Return the job of one scan. What an interrupted run of ours left of it may be replaced."""
        ours = scan.name in self.record.last
        output = self.job.output / scan.name
        return replace(self.job, input=scan.path, more=scan.more, output=output, overwrite=self.job.overwrite or ours)

    def _read(self, scan: Scan) -> Volume:
        own = self._own(scan)
        check_job(own)
        return read_scan(self.predictor, own)

    def _segment(
        self, scan: Scan, reading: Future[Volume], writer: ThreadPoolExecutor, writing: Future[None] | None
    ) -> Future[None] | None:
        """Segment a scan when it is read and hand it to the writer; return what is being written."""
        started, own = time.monotonic(), self._own(scan)
        forget_peak()
        try:
            read = reading.result()
            self.record.add(scan, state="begun")
            answer = segment_scan(self.predictor, own, read)
        except Exception as error:
            self._fail(scan, error, started)
            return writing
        if writing:
            writing.result()  # one at a time: no more than three scans are in memory

        def write() -> None:
            try:
                write_answer(self.predictor, own, answer, started=started)
            except Exception as error:
                self._fail(scan, error, started)
                return
            self.done += 1
            self._tell(scan, "done", started)

        return writer.submit(write)

    def _fail(self, scan: Scan, error: Exception, started: float) -> None:
        if isinstance(error, UserError):
            message = str(error)
        else:
            message = f"a fault in segfocal: {''.join(traceback.format_exception_only(error)).strip()}"
        self.failed[scan.name] = message
        self._tell(scan, "failed", started, message=message)

    def _tell(self, scan: Scan, state: str, started: float, **more: str) -> None:
        seconds = round(time.monotonic() - started, 2)
        self.record.add(scan, state=state, seconds=seconds, peak_gib=round(peak_gib(), 3), **more)
        number = self.done + len(self.failed)
        self.say(f"[{number}/{self.count}] {scan.name}: {more.get('message', f'{seconds:.1f} s')}")


class _Record:
    """The manifest: what happened to each scan, in the order it happened."""

    def __init__(self, path: Path, signature: str) -> None:
        self.path, self.signature = path, signature
        self.last: dict[str, Entry] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:  # the line that a kill cut short
                    continue
                self.last[entry["name"]] = entry

    def is_settled(self, scan: Scan, output: Path, *, retry: bool) -> bool:
        """Say whether a scan was done, or has failed and is not to be tried again, as it is and by the same options."""
        entry = self.last.get(scan.name)
        if entry is None or entry["signature"] != self.signature or entry["input"] != _state_of(scan.path, *scan.more):
            return False
        return (entry["state"] == "done" and output.is_file()) or (_failed(entry) and not retry)

    def add(self, scan: Scan, *, state: str, **facts: Any) -> None:
        """Write a line, on disk before this returns."""
        entry = {
            "name": scan.name,
            "state": state,
            "input": _state_of(scan.path, *scan.more),
            "signature": self.signature,
            **facts,
        }
        self.last[scan.name] = entry
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _failed(entry: Entry) -> bool:
    return entry["state"] == "failed"


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


def _signature(job: Job) -> str:
    """Return a name for all that makes a mask of a scan: the bundles' files and the options."""
    files = [_state_of(path / name) for path in job.bundles for name in ("bundle.json", "model.safetensors")]
    options = asdict(replace(job, bundle=Path(), input=Path(), output=Path(), overwrite=False, device=""))
    told = json.dumps([segfocal.__version__, files, options], default=str, sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
