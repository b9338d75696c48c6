"""The scans to be segmented, handed out one by one: all of them, or those that no other command has claimed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from segfocal.predict.inputs import Scan
from segfocal.predict.manifest import Manifest
from segfocal.predict.parts import Claims

_PAUSE = 2.0  # seconds between looks at what other commands do


class ScanQueue(Protocol):
    """Scans to segment."""

    def passes(self) -> Iterator[Iterator[Scan]]:
        """Yield iterators of scans, each to be used up before the next; none is empty, and none waits."""
        ...

    def ended(self, scan: Scan) -> None:
        """Note that all is recorded of a scan that was handed out."""
        ...


class AllScans:
    """Every scan, in order."""

    def __init__(self, scans: Sequence[Scan]) -> None:
        self.scans = scans

    def passes(self) -> Iterator[Iterator[Scan]]:
        """See `ScanQueue`."""
        if self.scans:
            yield iter(self.scans)

    def ended(self, scan: Scan) -> None:
        """See `ScanQueue`."""


class FreeScans:
    """Scans that no other command has claimed; those of others come when their holder died, until all are settled.

    Args:
        scans: of all commands.
        claims: of the folder.
        manifest: read again when a scan was claimed: another command may have done it since.
        settled: whether nothing is left to do with a scan.
    """

    def __init__(
        self, scans: Sequence[Scan], claims: Claims, manifest: Manifest, settled: Callable[[Scan], bool]
    ) -> None:
        self.waiting, self.claims, self.manifest, self.settled = list(scans), claims, manifest, settled

    def passes(self) -> Iterator[Iterator[Scan]]:
        """See `ScanQueue`. Between them it waits for the scans of others."""
        while self.waiting:
            scans = self._free()
            first = next(scans, None)
            if first is not None:
                yield itertools.chain([first], scans)
            elif self.waiting:
                time.sleep(_PAUSE)

    def ended(self, scan: Scan) -> None:
        """See `ScanQueue`."""
        self.claims.release(scan.name)

    def _free(self) -> Iterator[Scan]:
        """Yield the scans that are free now; the others wait for the next pass."""
        scans, self.waiting = self.waiting, []
        self.manifest.refresh()
        for scan in scans:
            if self.settled(scan):
                continue
            if not self.claims.take(scan.name):
                self.waiting.append(scan)
                continue
            self.manifest.refresh()
            if self.settled(scan):
                self.claims.release(scan.name)
            else:
                yield scan
