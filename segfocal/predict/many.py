"""Many scans: each on its own, in this process or by the workers of a cluster; one that fails never stops the rest.

The output folder keeps a manifest (`manifest.py`), so that the same command after a kill makes only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.errors import UserError
from segfocal.files import check_apart
from segfocal.inference.bundle import read_structure_names
from segfocal.io import passed_over
from segfocal.predict.assembly_line import run_line
from segfocal.predict.inputs import Scan
from segfocal.predict.manifest import MANIFEST, Manifest, signature_of
from segfocal.predict.one_of_many import OneOfMany
from segfocal.predict.options import PredictOptions
from segfocal.predict.outputs import OutputFiles, files_read
from segfocal.predict.parts import Claims, Part, own_manifest
from segfocal.predict.predict import load_predictor
from segfocal.predict.scan_queue import AllScans, FreeScans, ScanQueue
from segfocal.predict.scan_workers import segment_by_workers
from segfocal.predict.tally import Summary, Tally


def predict_many(
    options: PredictOptions,
    scans: Sequence[Scan],
    *,
    passed: Sequence[passed_over.PassedOver] = (),
    retry: bool = True,
    part: Part | None = None,
    cluster: ClusterSettings | None = None,
    say: Callable[[str], None] = print,
) -> Summary:
    """Segment scans into the folder `outputs.mask`, each under its own name; say a line for each and a summary.

    A scan that was done by the same bundle and options is kept as it is.

    Args:
        options: of all of them.
        scans: to segment, in order; of a part those of all parts.
        passed: what lies beside them and is not segmented; the manifest holds it.
        retry: whether those are tried again that failed before.
        part: which of the scans, while other commands do the rest; None: all, and no other command may be at work.
        cluster: whose workers do it; None: this process.
        say: takes each line.

    Raises:
        UserError: options that cannot hold for many scans, an output that would replace an input or another output, a
            bundle that cannot be loaded, an unwritable folder, another command at work in it.
    """
    if options.prompts is not None:
        raise UserError(
            expected="no prompts for many scans", found="prompt or prompts", do="segment prompted scans one by one"
        )
    folder = options.outputs.mask
    _check_apart(options, scans)
    with own_manifest(folder, signature_of(options), part) as manifest:
        own = part.chosen(scans) if part else scans

        def settled(scan: Scan) -> bool:
            return manifest.is_settled(scan, folder / scan.name, retry=retry)

        todo = [scan for scan in own if not settled(scan)]
        manifest.note_passed_over(passed_over.rows(passed, options.scan))
        say(f"{len(own)} scans: {len(own) - len(todo)} done before, {len(todo)} to do")
        tally = Tally(len(todo), say, paced=cluster is not None)
        with _queue_of(todo, part, manifest, settled) as queue:
            _segment(options, queue, manifest, tally, cluster)
        failed = {scan.name: manifest.message(scan.name) for scan in own if manifest.has_failed(scan.name)}
    summary = Summary(done=tally.done_now, kept=len(own) - len(failed) - tally.done_now, failed=failed)
    tally.tell_all(summary, folder / MANIFEST)
    return summary


@contextmanager
def _queue_of(
    todo: Sequence[Scan], part: Part | None, manifest: Manifest, settled: Callable[[Scan], bool]
) -> Iterator[ScanQueue]:
    """Yield what hands out the scans: all of them, or those that no other command has claimed."""
    if part is None or part.number is not None:
        yield AllScans(todo)
        return
    claims = Claims(manifest.folder)
    try:
        yield FreeScans(todo, claims, manifest, settled)
    finally:
        claims.release_all()


def _segment(
    options: PredictOptions, queue: ScanQueue, manifest: Manifest, tally: Tally, cluster: ClusterSettings | None
) -> None:
    if tally.count == 0:
        return
    if cluster is not None:
        segment_by_workers(options, queue, manifest, tally, cluster)
        return
    steps = OneOfMany(load_predictor(options), options, manifest)
    for scans in queue.passes():
        run_line(steps, scans, tally, ended=queue.ended)


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
