"""Faults of one node of a simulated cluster, by its environment: NODE_FAULT=slow or full; imported by its workers."""

import errno
import os
import time

SLOW_SECONDS = 1.0


def slow(*given):
    """Take the place of a finished file as a slow disk does."""
    time.sleep(SLOW_SECONDS)
    return _replace(*given)


def full(file):
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_replace = os.replace
if os.environ.get("NODE_FAULT") == "slow":
    os.replace = slow
elif os.environ.get("NODE_FAULT") == "full":
    os.fsync = full
