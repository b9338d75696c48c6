"""One scan among many: read, segmented and written, each step recorded in the manifest before it is taken."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segfocal.cluster.worker_errors import in_one_line
from segfocal.files import remove_unfinished
from segfocal.grid import Volume
from segfocal.inference.predictor import Predictor
from segfocal.memory import forget_peak, peak_gib
from segfocal.predict.inputs import Scan, read_scan
from segfocal.predict.manifest import Manifest, hashes
from segfocal.predict.options import PredictOptions
from segfocal.predict.outputs import check_outputs, files_written
from segfocal.predict.predict import segment_scan, write_prediction
from segfocal.predict.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a scan took. warning: on its values, "" without one."""

    seconds: float
    warning: str = ""


def own_files(options: PredictOptions, scan: Scan) -> list[Path]:
    """Return every file that a scan among many leads to."""
    return files_written(_of_one(options, scan))


def _of_one(options: PredictOptions, scan: Scan) -> PredictOptions:
    outputs = replace(options.outputs, mask=options.outputs.mask / scan.name)
    return replace(options, inputs=scan.files, outputs=outputs)


class OneOfMany:
    """The steps of each scan: they may be taken in several threads.

    Args:
        predictor: which segments.
        options: of all scans; `outputs.mask` is the folder.
        manifest: where each step is recorded.
    """

    def __init__(self, predictor: Predictor, options: PredictOptions, manifest: Manifest) -> None:
        self.predictor, self.options, self.manifest = predictor, options, manifest

    def own(self, scan: Scan) -> PredictOptions:
        """Return the options of one scan. What an earlier or interrupted run of ours left of it may be replaced."""
        own = _of_one(self.options, scan)
        ours = own.outputs.overwrite or self.manifest.is_ours(scan, files_written(own))
        return replace(own, outputs=replace(own.outputs, overwrite=ours))

    def read(self, scan: Scan) -> Volume:
        """Return what a scan holds; UserError where it cannot be read or its mask not be written."""
        scan.check_complete()
        own = self.own(scan)
        check_outputs(own)
        return read_scan(own, self.predictor.bundle)

    def segment(self, scan: Scan, volume: Volume) -> Prediction:
        """Return what is found in a scan that was read."""
        forget_peak()
        own = self.own(scan)
        left = hashes(files_written(own)) if self.manifest.trusts(scan) else {}
        if self.manifest.was_interrupted(scan):
            remove_unfinished(files_written(own))
        self.manifest.add(scan, state="begun", sha256=left)
        return segment_scan(self.predictor, own, volume)

    def write(self, scan: Scan, prediction: Prediction, *, started: float) -> Made:
        """Write what was found and record it. A mask may have been corrected since the scan was begun: not replaced."""
        own = self.own(scan)
        check_outputs(own)
        self.manifest.add(scan, state="writing")
        report = write_prediction(self.predictor, own, prediction, started=started)
        seconds = self._record(scan, "done", started, sha256=hashes(files_written(own)))
        return Made(seconds=seconds, warning=report.get("warning", ""))

    def fail(self, scan: Scan, error: Exception, *, started: float) -> str:
        """Record that a scan failed, with those of its files that are ours; return why, in one line."""
        message = in_one_line(error)
        left = hashes(own_files(self.options, scan)) if self.manifest.trusts(scan) else {}
        self._record(scan, "failed", started, message=message, sha256=left)
        return message

    def _record(self, scan: Scan, state: str, started: float, **facts: Any) -> float:
        """Record the end of a scan; return the seconds it took."""
        seconds = round(time.monotonic() - started, 2)
        self.manifest.add(scan, state=state, seconds=seconds, peak_gib=round(peak_gib(), 3), **facts)
        return seconds
