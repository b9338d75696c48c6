"""Many files at once: how many processes a machine affords, and what they make of each file, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from segfocal.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def affordable(largest_bytes: int) -> int:
    """Return for how many processes, each of up to `largest_bytes` of memory, there are cores and memory; ≥ 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _available_bytes() // max(1, largest_bytes)))


def _available_bytes() -> int:
    """Return the memory that may be used now; of systems that do not say, half of what there is."""
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


def pool(count: int) -> ProcessPoolExecutor:
    """Return a pool of processes that begin afresh, so that threads and open files of this one do no harm."""
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


def in_order(work: Callable[[Item], Result], items: Sequence[Item], *, count: int, doing: str) -> Iterator[Result]:
    """Yield what `work` makes of each item, in order, by `count` processes; by this one where one is enough.

    doing: what each does, for the message: "read a case each".

    Raises:
        UserError: a process that was killed.
    """
    count = min(count, len(items))
    if count <= 1:
        yield from map(work, items)
        return
    try:
        with pool(count) as processes:
            yield from processes.map(work, items)
    except BrokenProcessPool as error:
        raise UserError(
            expected=f"{count} processes that {doing}",
            found="one that was killed, perhaps for want of memory",
            do="set workers=1, or a smaller number than now",
        ) from error
