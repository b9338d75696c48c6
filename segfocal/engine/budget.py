"""How much of a run is used: of its steps, or of its minutes.

With `train.steps` the same steps give the same numbers, bit by bit. With `train.minutes` how many steps fit depends on
the machine, so the numbers do too; which samples step n has does not.
"""

from __future__ import annotations

import time

import torch
from accelerate import Accelerator

from segfocal.engine.settings import TrainingSettings

MOST_STEPS = 10**9  # of a run that its minutes end


class Stopwatch:
    """Seconds of training, validations and checkpoints included: the main process's, in every process.

    Args:
        accelerator: this process's place among those that train together.
        before: seconds trained before, by the checkpoint that the run goes on from.
    """

    def __init__(self, accelerator: Accelerator, *, before: float) -> None:
        self.accelerator, self.before = accelerator, before
        self.started: float | None = None

    def start(self) -> None:
        """Begin to count; a second call changes nothing."""
        self.started = time.monotonic() if self.started is None else self.started

    def seconds(self) -> float:
        """Return the seconds so far; every process calls it."""
        passed = 0.0 if self.started is None else time.monotonic() - self.started
        here = self.before + passed
        if self.accelerator.num_processes == 1:
            return here
        is_main = self.accelerator.is_main_process
        mine = torch.tensor(here if is_main else 0.0, dtype=torch.float64, device=self.accelerator.device)
        return float(self.accelerator.reduce(mine))


def used_share(settings: TrainingSettings, *, step: int, seconds: float) -> float:
    """Return how much of a run is used, in [0,1].

    Args:
        settings: `minutes`, or without them `steps`.
        step: optimiser steps made.
        seconds: of training so far.
    """
    used = step / settings.steps if settings.minutes is None else seconds / (60 * settings.minutes)
    return min(1.0, used)
