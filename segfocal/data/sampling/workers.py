"""Errors of a DataLoader whose loading processes died or hang, in words that help."""

from __future__ import annotations

import multiprocessing
import re
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from segfocal.errors import UserError

_LOST = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([^.]+)|exited unexpectedly)"
)
_REASONS = {  # by the name of a signal: why, and what to do
    "Killed": (
        ", most often because memory ran out",
        "lower train.workers or data.window, close other programs, or ask the scheduler for more memory (SLURM: --mem)",
    ),
    "Bus error": (
        ", most often because shared memory, /dev/shm, is full",
        "make it larger (docker run --shm-size=8g) or set train.workers=0",
    ),
}
_PATIENCE = 1.0  # seconds
_OTHERWISE = "", "set train.workers=0 to see the error itself, or resume=auto to go on from the last checkpoint"


@contextmanager
def naming_lost_workers(count: int, *, timeout: float | None) -> Iterator[None]:
    """Raise UserError where a DataLoader with `count` loading processes says that one died, or sent nothing in time.

    torch notices a death by a signal to the main process, wherever that is at the moment: what surrounds a training
    loop needs this, not only what reads batches. timeout: seconds, as given to the loader.
    """
    try:
        yield
    except RuntimeError as error:
        lost = [found for one in (error, error.__cause__) if (found := _LOST.search(str(one)))]
        if lost:  # the cause knows the signal
            raise _lost(lost[-1].group(1), lost[-1].group(2), count=count) from error
        if str(error).startswith("DataLoader timed out"):
            _end_children()
            raise UserError(
                expected=f"a batch within {timeout:g} seconds from {_processes(count)}",
                found="none: they hang",
                do="look whether the disk of the cache still answers; raise train.worker_timeout if it is only slow",
            ) from error
        raise


@contextmanager
def awaiting_what_torch_says() -> Iterator[None]:
    """Give torch the time to name a loading process that went while a batch was read from it.

    It learns of that by SIGCHLD and raises in the main thread, with the process and its signal; what a batch is read
    through is closed before that in one of twenty deaths.
    """
    try:
        yield
    except (EOFError, ConnectionError, FileNotFoundError) as error:
        if "DataLoader worker" not in str(error):  # which is what a data set raised
            time.sleep(_PATIENCE)
        raise


@contextmanager
def ending_workers_at_once() -> Iterator[None]:
    """Let the loading processes of a DataLoader end when reading from it fails.

    The frames of an error hold the loader. Python's collection of garbage would free it later, its queues first, over
    which torch tells the processes to end; then it waits ten seconds for each, as they outlive one SIGTERM.
    """
    try:
        yield
    except Exception as error:
        for one in filter(None, (error, error.__cause__)):
            traceback.clear_frames(one.__traceback__)
        raise


def keep_serving(_: int) -> None:
    """Let Ctrl-C, SLURM's warning and a scheduler's first SIGTERM stop the run in the main process, not in a worker.

    A DataLoader calls this in each of its processes. The main one saves first, and ends them with another SIGTERM.
    """
    for name in ("SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _die_next_time)


def _die_next_time(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)


def _end_children() -> None:
    """Kill loading processes that hang: Python would wait for them at its end."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def _lost(pids: str, by: str | None, *, count: int) -> UserError:
    how = f"was killed by the signal “{by}”" if by else "ended before its work was done"
    why, do = _REASONS.get(by or "", _OTHERWISE)
    return UserError(
        expected=f"{_processes(count)} (train.workers) that live as long as the run",
        found=f"that process {pids} {how}{why}",
        do=do,
    )


def _processes(count: int) -> str:
    return "one loading process" if count == 1 else f"{count} loading processes"
