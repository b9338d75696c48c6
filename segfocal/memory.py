"""Memory as the operating system counts it: what is free, whether something fits, the most this process held."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from segfocal.errors import UserError

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MACHINE = Path("/proc/meminfo")
_CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def available_bytes() -> int:
    """Return the memory that is free now, at most what a container may have; half of all on systems that do not say."""
    limits = [_free_bytes()]
    for file in _CONTAINER:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(limits)


def _free_bytes() -> int:
    try:
        for line in _MACHINE.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):  # Windows
        return 4 << 30


def check_fits(needed_bytes: int, what: str, path: str | Path) -> None:
    """Raise UserError unless a file that promises so much fits into the memory that is free.

    Args:
        needed_bytes: by what its header promises, before anything is allocated.
        what: that takes them, for the message: "voxels", "pixels".
        path: the file.
    """
    free = available_bytes()
    if needed_bytes > free:
        raise UserError(
            expected=f"{what} that fit into the {free / 2**30:.3g} GiB of memory that are free",
            found=f"{needed_bytes / 2**30:.3g} GiB promised by the header",
            where=path,
            do="use a machine with more memory, crop the scan, or take the file out if its header is damaged",
        )


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
