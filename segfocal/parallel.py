"""Work done at once: many files in as many processes as a machine can hold, or one thing made while another is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from segfocal.errors import UserError
from segfocal.memory import available_bytes

Item = TypeVar("Item")
Result = TypeVar("Result")


def affordable(largest_bytes: int) -> int:
    """Return how many processes of up to `largest_bytes` of memory each have a core and fit into memory; ≥ 1."""
    return max(1, min(_cores(), available_bytes() // max(1, largest_bytes)))


def most_workers() -> int:
    """Return how many processes that mostly wait for files make sense on this machine: eight a core, at least 64."""
    return max(64, 8 * _cores())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def beside(work: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do `work` with each item, in order, in a thread of its own while the next one is made here.

    One item is worked on while one is made, so no more than two are in memory. What either side raises is raised here:
    after an error of `work` no further item is made. The thread is gone when this ends.
    """
    with ThreadPoolExecutor(1) as thread:
        begun: Future[object] | None = None
        for item in items:
            if begun is not None:
                begun.result()
            begun = thread.submit(work, item)
            del item
        if begun is not None:
            begun.result()
