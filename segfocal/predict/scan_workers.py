"""Many scans by the workers of a cluster: each loads the bundle once, reads, segments and writes one scan at a time.

A worker records its steps in a part of the manifest; the command takes them over as they come, in the order in which
they happened, and adds what a worker could not tell: that it died.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from segfocal.cluster.cluster import started
from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.device import choose_device
from segfocal.predict.inputs import Scan
from segfocal.predict.manifest import Manifest, hashes
from segfocal.predict.one_of_many import Made, OneOfMany, own_files
from segfocal.predict.options import PredictOptions
from segfocal.predict.parts import worker_files, worker_part
from segfocal.predict.predict import load_predictor
from segfocal.predict.scan_queue import ScanQueue
from segfocal.predict.tally import Tally


@dataclass(frozen=True, kw_only=True)
class ScanTask:
    """A scan for a worker. before: its last line in the manifest; None where there is none."""

    scan: Scan
    before: dict[str, Any] | None


class ScanWorker:
    """What a worker does with each scan.

    Args:
        steps: of a scan.
    """

    def __init__(self, steps: OneOfMany) -> None:
        self.steps = steps

    def __call__(self, task: ScanTask) -> Made:
        """Segment a scan; what is raised is in the manifest, too."""
        scan, begun = task.scan, time.monotonic()
        if task.before is not None:
            self.steps.manifest.hold(task.before)
        try:
            prediction = self.steps.segment(scan, self.steps.read(scan))
            return self.steps.write(scan, prediction, started=begun)
        except Exception as error:
            self.steps.fail(scan, error, started=begun)
            raise


def make_scan_worker(options: PredictOptions, *, gpu: bool, signature: str, part: str) -> ScanWorker:
    """Load the bundles in a worker.

    Args:
        options: of all scans.
        gpu: whether the worker has one.
        signature: of bundles and options, as the command knows it.
        part: the beginning of the name of its part of the manifest.
    """
    options = replace(options, device=choose_device("cuda" if gpu else "cpu"))
    manifest = Manifest(options.outputs.mask, signature, part=f"{part}{uuid.uuid4().hex[:12]}")
    return ScanWorker(OneOfMany(load_predictor(options), options, manifest))


def segment_by_workers(
    options: PredictOptions, queue: ScanQueue, manifest: Manifest, tally: Tally, settings: ClusterSettings
) -> None:
    """Have scans segmented by the workers of a cluster.

    Args:
        options: of all scans.
        queue: hands them out.
        manifest: of this command.
        tally: where each end is counted and told.
        settings: of the cluster.

    Raises:
        UserError: whatever starting the cluster raises, a bundle that no worker can load.
    """
    options, part = _absolute(options), worker_part(manifest, "")
    make = partial(make_scan_worker, options, gpu=settings.gpus > 0, signature=manifest.signature, part=part)
    folders = [options.outputs.mask, *options.bundles, *(path for path in options.inputs if path.is_dir())]
    with started(settings) as cluster:
        try:
            for scans in queue.passes():
                tasks = (_task(scan, manifest) for scan in scans)
                again = partial(_again, manifest=manifest)
                for outcome in cluster.run(make, tasks, folders=folders, say=tally.say, again=again):
                    scan = outcome.item.scan
                    _take_over(manifest)
                    if outcome.result is not None:
                        tally.done(scan.name, outcome.result.seconds, warning=outcome.result.warning)
                    else:
                        _record_failure(manifest, options, scan, outcome.failure or "", outcome.seconds)
                        tally.failed(scan.name, outcome.failure or "")
                    queue.ended(scan)
        finally:
            _take_over(manifest, last=True)


def _absolute(options: PredictOptions) -> PredictOptions:
    """Return options whose paths hold in a process that began in another folder; those of scans are absolute."""
    outputs = replace(options.outputs, mask=options.outputs.mask.absolute())
    bundles, inputs = (tuple(path.absolute() for path in paths) for paths in (options.bundles, options.inputs))
    return replace(options, bundles=bundles, inputs=inputs, outputs=outputs)


def _task(scan: Scan, manifest: Manifest) -> ScanTask:
    return ScanTask(scan=scan, before=manifest.entry(scan.name))


def _again(task: ScanTask, *, manifest: Manifest) -> ScanTask:
    """Return the task of a scan that is tried again, with what the worker before recorded of it."""
    _take_over(manifest)
    return _task(task.scan, manifest)


def _take_over(manifest: Manifest, *, last: bool = False) -> None:
    """Write what workers recorded since the last time as lines of this command. last: no worker is left."""
    for file in worker_files(manifest):
        manifest.absorb(file)
        if last:
            file.unlink(missing_ok=True)


def _record_failure(manifest: Manifest, options: PredictOptions, scan: Scan, message: str, seconds: float) -> None:
    """Record that a scan failed, unless its worker did in the same words."""
    entry = manifest.entry(scan.name)
    if entry is None or entry["state"] != "failed" or entry["message"] != message:
        left = hashes(own_files(options, scan)) if manifest.trusts(scan) else {}
        manifest.add(scan, state="failed", seconds=round(seconds, 2), message=message, sha256=left)
