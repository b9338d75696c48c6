"""Memory: what the machine has left, and the most that this process held over a stretch of its life."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

from segfocal.errors import Fault, UserError

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_GROUP = Path("/sys/fs/cgroup")  # limits of a container or a job
_GIB = 1 << 30


def available_bytes() -> int:
    """Return the memory that is free now, also to the container or job; half of all memory where nobody says."""
    return min(_free_on_machine(), _free_in_group())


def check_available(needed: int, *, where: Path, what: str) -> None:
    """Raise UserError, before anything is allocated, where something takes more memory than there is.

    Args:
        needed: bytes.
        where: the file that asks for them.
        what: takes them: "a volume of 512×512×300 voxels".
    """
    available = available_bytes()
    if needed > available:
        raise UserError(
            expected=f"{what} that fits into the {available / _GIB:.3g} GiB of memory that are free",
            found=f"one that takes {needed / _GIB:.3g} GiB",
            where=where,
            do="crop or resample it, or use a machine with more memory",
            fault=Fault.TOO_LARGE,
        )


def _free_on_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):  # Windows
        return 4 << 30


def _free_in_group() -> int:
    """Return what a limit of a control group leaves; without one, more than any machine has."""
    for most, now in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int((_GROUP / most).read_text()) - int((_GROUP / now).read_text()))
        except (OSError, ValueError):  # "max"
            continue
    return 1 << 62


def give_back() -> None:
    """Return memory that was freed to the system, where its C library would keep some of it for itself (glibc)."""
    with suppress(AttributeError, OSError, TypeError):  # another library
        ctypes.CDLL(None).malloc_trim(0)


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
