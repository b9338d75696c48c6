"""A dry run: everything a run does, twice, and what the whole would take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from segfocal.engine.health import Health
from segfocal.engine.loop import train_steps
from segfocal.engine.plan import Plan
from segfocal.engine.ready import ready_run
from segfocal.engine.validate import validate
from segfocal.memory import peak_gib

_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a whole run would take.

    Args:
        seconds_a_step: of the second step, as the first one also warms up.
        seconds_a_validation: of all held-out cases, from one of them.
        hours: of all steps and validations.
        memory_gib: the most in use: of the GPU, or of the process.
        device: as torch names it.
    """

    seconds_a_step: float
    seconds_a_validation: float
    hours: float
    memory_gib: float
    device: str


def dry_run(plan: Plan, folder: Path) -> Estimate:
    """Make two steps and validate one case in `folder`, which is left to be forgotten."""
    with ready_run(plan, folder) as ready:
        settings, device = plan.settings, ready.run.accelerator.device
        seconds, ended = 0.0, time.monotonic()
        for _ in islice(train_steps(ready.run, ready.dataset, Health(lambda _: None, device=device)), _STEPS):
            seconds, ended = time.monotonic() - ended, time.monotonic()
        held, started = plan.cases.of("val"), time.monotonic()
        if held:
            validate(ready.run.bundle(), held[:1], device=device, fully=False)
        validation = (time.monotonic() - started) * len(held)
        rounds = settings.steps // settings.validate_every if settings.validate_every else 1
        return Estimate(
            seconds_a_step=round(seconds, 3),
            seconds_a_validation=round(validation, 1),
            hours=round((seconds * settings.steps + validation * max(rounds, 1)) / 3600, 2),
            memory_gib=round(_peak_gib(device), 2),
            device=str(device),
        )


def _peak_gib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else peak_gib()
