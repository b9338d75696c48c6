"""The learning rate over a run: a linear warm-up, then a cosine, a power, halvings at plateaus, or a constant."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch.optim.lr_scheduler import LambdaLR

from segfocal.engine.budget import used_share
from segfocal.engine.settings import TrainingSettings

_POWER = 0.9  # of the poly schedule, as nnU-Net's
_DROP = 0.5  # of the plateau schedule
_LEAST = 0.1  # of the warm-up by minutes: a first step at rate 0 would teach nothing


class Followed(Protocol):
    """What a schedule follows besides steps: see RunState."""

    seconds: float
    plateaus: int


def make_lr_schedule(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, state: Followed | None = None
) -> LambdaLR:
    """Return the schedule of the learning rate; its `step` is called once an optimiser step.

    Args:
        optimizer: whose rates are scaled, each from its own start.
        settings: `steps` or `minutes`, `warmup` (share of them), and `schedule`.
        state: `seconds` trained so far, for `minutes`; `plateaus`, how often validation has stopped getting better, for
            schedule "plateau", a halving each.
    """
    warmup = max(1, round(settings.warmup * settings.steps))

    def by_steps(step: int) -> tuple[float, float]:
        return (step + 1) / warmup, (step - warmup) / max(1, settings.steps - warmup)

    def by_minutes(step: int) -> tuple[float, float]:
        used = used_share(settings, step=step, seconds=state.seconds if state else 0.0)
        climb = max(_LEAST, used / settings.warmup) if settings.warmup else 1.0
        return climb, (used - settings.warmup) / (1 - settings.warmup)

    def factor(step: int) -> float:
        climb, past = by_steps(step) if settings.minutes is None else by_minutes(step)
        if past < 0:
            return climb
        if settings.schedule == "constant":
            return 1.0
        if settings.schedule == "plateau":
            return _DROP ** (state.plateaus if state else 0)
        past = min(1.0, past)
        return (1 - past) ** _POWER if settings.schedule == "poly" else 0.5 * (1 + math.cos(math.pi * past))

    return LambdaLR(optimizer, factor)
