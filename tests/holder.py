"""Another process that holds a folder, as a command at work in it does."""

import multiprocessing
import signal
from contextlib import contextmanager

from segfocal.folder_lock import only_one


def _hold(folder, held):
    with only_one(folder, doing="work"):
        held.set()
        signal.pause()


@contextmanager
def holding(folder):
    """Yield a process that holds a folder; it is killed when the block ends."""
    processes = multiprocessing.get_context("fork")
    held = processes.Event()
    process = processes.Process(target=_hold, args=(folder, held))
    process.start()
    assert held.wait(10)
    try:
        yield process
    finally:
        process.kill()
        process.join()
