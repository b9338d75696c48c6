"""The most memory this process held, over a stretch of its life, as the operating system counts it."""

from __future__ import annotations

import sys
from pathlib import Path

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> None:
    """Begin a new stretch, where the system can (Linux); elsewhere the peak is that of the whole life."""
    try:
        _FORGET.write_text("5")
    except OSError:
        return


def peak_gib() -> float:
    """Return the most resident memory in GiB, mapped files included."""
    try:
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    except (OSError, StopIteration):
        import resource  # not on Windows

        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
