"""How many scans are done, kept and failed: counted, and told in a line each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segfocal.cluster.pace import Pace


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


class Tally:
    """What became of scans, told as it happens; threads may share it.

    Args:
        count: scans to do.
        say: takes each line.
        paced: whether each line says how many are done in an hour, and how long the rest takes.
    """

    def __init__(self, count: int, say: Callable[[str], None], *, paced: bool = False) -> None:
        self.count, self.say = count, say
        self.done_now, self.failures = 0, dict[str, str]()
        self._lock, self._pace = threading.Lock(), Pace(count) if paced else None

    def done(self, name: str, seconds: float, *, warning: str = "") -> None:
        """Count a scan that has its mask."""
        with self._lock:
            self.done_now += 1
            self._tell(name, f"{seconds:.1f} s")
            if warning:
                self.say(f"  warning: {name}: {warning}")

    def failed(self, name: str, message: str) -> None:
        """Count a scan that has none."""
        with self._lock:
            self.failures[name] = message
            self._tell(name, message)

    def _tell(self, name: str, what: str) -> None:
        number = self.done_now + len(self.failures)
        pace = f" ({self._pace.told(number, time.monotonic())})" if self._pace else ""
        self.say(f"[{number}/{self.count}] {name}: {what}{pace}")

    def tell_all(self, summary: Summary, manifest: Path) -> None:
        """Say how many scans failed for each reason, and how many are done."""
        for kind, count in Counter(message.split(";")[0] for message in summary.failed.values()).most_common():
            self.say(f"  {count} failed: {kind}")
        self.say(f"{summary.done} done, {summary.kept} kept, {len(summary.failed)} failed: {manifest}")
