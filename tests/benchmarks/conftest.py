"""Makes the benchmarks importable as they import each other, and lends a clock that moves only when told to."""

import sys
from dataclasses import dataclass

import pytest

from tests import ROOT

sys.path.append(str(ROOT / "benchmarks"))


@dataclass
class Clock:
    """Seconds that pass when they are added."""

    now: float = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budget(clock, tmp_path):
    """100 seconds of that clock, with the sizes of a GPU."""
    from gpu_checks.budget import Budget

    return Budget(seconds=100.0, steps=2, full=True, folder=tmp_path, clock=clock)
