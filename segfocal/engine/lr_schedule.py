"""The learning rate over a run: a linear warm-up, then a cosine, a power, halvings at plateaus, or a constant."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.optim.lr_scheduler import LambdaLR

from segfocal.engine.settings import TrainingSettings

_POWER = 0.9  # of the poly schedule, as nnU-Net's
_DROP = 0.5  # of the plateau schedule


def make_lr_schedule(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, plateaus: Callable[[], int] = lambda: 0
) -> LambdaLR:
    """Return the schedule of the learning rate; its `step` is called once an optimiser step.

    Args:
        optimizer: whose rates are scaled, each from its own start.
        settings: `steps`, `warmup` (share of the steps), and `schedule`.
        plateaus: returns how often validation has stopped getting better so far; for `plateau`, a halving each.
    """
    warmup = max(1, round(settings.warmup * settings.steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if settings.schedule == "constant":
            return 1.0
        if settings.schedule == "plateau":
            return _DROP ** plateaus()
        past = min(1.0, (step - warmup) / max(1, settings.steps - warmup))
        return (1 - past) ** _POWER if settings.schedule == "poly" else 0.5 * (1 + math.cos(math.pi * past))

    return LambdaLR(optimizer, factor)
