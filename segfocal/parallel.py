"""Work on many files at once: how many processes a machine can hold, and their results in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from segfocal.errors import UserError
from segfocal.memory import available_bytes

Item = TypeVar("Item")
Result = TypeVar("Result")


def affordable(largest_bytes: int) -> int:
    """Return how many processes of up to `largest_bytes` of memory each have a core and fit into memory; ≥ 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, available_bytes() // max(1, largest_bytes)))


def pool(count: int) -> ProcessPoolExecutor:
    """Return a pool of spawned processes, which inherit no threads and no open files from this one."""
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


def in_order(work: Callable[[Item], Result], items: Sequence[Item], *, count: int, doing: str) -> Iterator[Result]:
    """Yield the result of `work` for each item, in order.

    Args:
        work: a function that can be pickled.
        items: its arguments.
        count: processes, at most one an item; with one or none the work is done in this process.
        doing: what each process does, for the error message: "read a case each".

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
