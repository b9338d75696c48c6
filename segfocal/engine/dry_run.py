"""A dry run: everything a run does, a few times, and what the whole would take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from segfocal.data.case import Case
from segfocal.engine.health import Health
from segfocal.engine.loop import train_steps
from segfocal.engine.plan import Plan
from segfocal.engine.ready import ReadyRun, ready_run
from segfocal.engine.run import save
from segfocal.engine.validate import validate
from segfocal.memory import peak_gib

_FEWEST, _MOST = 4, 20  # steps
_SECONDS = 15.0  # of steps, after which no more are made once there are the fewest


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a whole run would take, once its scans are prepared.

    Args:
        steps: asked for, or with `train.minutes` those that fit.
        seconds_a_step: the median, without the first where there are others.
        seconds_a_validation: of all held-out cases, from one of them, with the checkpoint that follows.
        seconds_last_validation: of all held-out cases with all metrics and pictures.
        hours: of all steps and validations.
        memory_gib: the most in use: of the GPU, or of the process.
        device: as torch names it.
    """

    steps: int
    seconds_a_step: float
    seconds_a_validation: float
    seconds_last_validation: float
    hours: float
    memory_gib: float
    device: str


def dry_run(plan: Plan, folder: Path) -> Estimate:
    """Make a few steps and validate one case in `folder`, which is left to be forgotten."""
    with ready_run(plan, folder) as ready:
        device = ready.run.accelerator.device
        made = list(_seconds_of_steps(ready))
        step = median(made[1:] or made)  # the first also warms up
        held = plan.cases.of("val")
        often = _seconds(ready, held, fully=False)
        last = _seconds(ready, held, fully=True)
        trained, steps = _length(plan, seconds_a_step=step, seconds_a_validation=often)
        return Estimate(
            steps=steps,
            seconds_a_step=round(step, 3),
            seconds_a_validation=round(often, 1),
            seconds_last_validation=round(last, 1),
            hours=round((trained + last) / 3600, 4),
            memory_gib=round(_peak_gib(device), 2),
            device=str(device),
        )


def _seconds_of_steps(ready: ReadyRun) -> Iterator[float]:
    """Yield what each step takes, of the fewest or of as many as fit into some seconds."""
    began = ended = time.monotonic()
    health = Health(lambda _: None, device=ready.run.accelerator.device)
    for number, _ in enumerate(train_steps(ready.run, ready.dataset, health), start=1):
        before, ended = ended, time.monotonic()
        yield ended - before
        if number >= _FEWEST and (number >= _MOST or ended - began > _SECONDS):
            return


def _seconds(ready: ReadyRun, held: list[Case], *, fully: bool) -> float:
    """Return what a validation of the held-out cases takes, from one of them."""
    run, started = ready.run, time.monotonic()
    if not fully:
        save(run)
    saved, started = time.monotonic() - started, time.monotonic()
    if held:
        with TemporaryDirectory() as pictures:
            drawn = Path(pictures) if fully else None
            validate(run.bundle(), held[:1], device=run.accelerator.device, fully=fully, pictures=drawn)
    return saved + (time.monotonic() - started) * len(held)


def _length(plan: Plan, *, seconds_a_step: float, seconds_a_validation: float) -> tuple[float, int]:
    """Return the seconds of the training loop and its steps: those asked for, or those that fit its minutes."""
    settings = plan.settings
    if settings.minutes is not None:
        seconds = 60 * settings.minutes
        every = settings.validate_every
        share = seconds_a_step + (seconds_a_validation / every if every else 0.0)
        return seconds + seconds_a_validation, max(1, round(seconds / share))  # the last validation ends it
    # every so many steps, and after the last
    rounds = -(-settings.steps // settings.validate_every) if settings.validate_every else 1
    return seconds_a_step * settings.steps + seconds_a_validation * rounds, settings.steps


def _peak_gib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else peak_gib()
