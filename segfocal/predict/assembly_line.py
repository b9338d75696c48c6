"""Many scans in this process: one thread reads, the caller's segments, one writes; no failure stops the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from segfocal.grid import Volume
from segfocal.predict.inputs import Scan
from segfocal.predict.one_of_many import OneOfMany
from segfocal.predict.tally import Tally


def run_line(steps: OneOfMany, scans: Iterable[Scan], tally: Tally, *, ended: Callable[[Scan], None]) -> None:
    """Segment scans; while one is segmented the next is read and the one before written.

    Args:
        steps: of each.
        scans: taken one ahead.
        tally: where each end is counted and told.
        ended: called with each scan when all is recorded.
    """
    _AssemblyLine(steps, tally, ended).run(scans)


class _AssemblyLine:
    def __init__(self, steps: OneOfMany, tally: Tally, ended: Callable[[Scan], None]) -> None:
        self.steps, self.tally, self.ended = steps, tally, ended

    def run(self, scans: Iterable[Scan]) -> None:
        coming = iter(scans)
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:

            def read_next() -> tuple[Scan, Future[Volume]] | None:
                scan = next(coming, None)
                return None if scan is None else (scan, reader.submit(self.steps.read, scan))

            following, writing = read_next(), None
            while following is not None:
                scan, reading = following
                following = read_next()
                writing = self._segment(scan, reading, writer, writing)
                del reading  # the scan, which the writer may have written by now
            if writing:
                writing.result()

    def _segment(
        self, scan: Scan, reading: Future[Volume], writer: ThreadPoolExecutor, writing: Future[None] | None
    ) -> Future[None] | None:
        """Segment a scan when it is read and hand it to the writer; return what is being written."""
        started = time.monotonic()
        try:
            prediction = self.steps.segment(scan, reading.result())
        except Exception as error:
            self._fail(scan, error, started)
            return writing
        if writing:
            writing.result()  # one at a time: no more than three scans are in memory

        def write() -> None:
            try:
                made = self.steps.write(scan, prediction, started=started)
            except Exception as error:
                self._fail(scan, error, started)
                return
            self.tally.done(scan.name, made.seconds, warning=made.warning)
            self.ended(scan)

        return writer.submit(write)

    def _fail(self, scan: Scan, error: Exception, started: float) -> None:
        message = self.steps.fail(scan, error, started=started)
        self.tally.failed(scan.name, message)
        self.ended(scan)
