"""A dry run: everything a run does, twice, and what the whole would take."""

from __future__ import annotations

import time
from typing import Any

import torch

from segfocal.data.sampling.dataset import SliceDataset
from segfocal.engine.health import Watch
from segfocal.engine.run import Run
from segfocal.engine.step import batches_of, take_step
from segfocal.engine.validate import validate
from segfocal.memory import peak_gib

_STEPS = 2


def rehearse(run: Run, dataset: SliceDataset) -> dict[str, Any]:
    """Make two steps and validate one case; return seconds a step and a validation, hours in all, and GiB used."""
    settings, device = run.plan.settings, run.accelerator.device
    seconds = 0.0
    ended = time.monotonic()
    for _, batches in zip(range(_STEPS), batches_of(run, dataset, Watch(lambda _: None, device=device)), strict=False):
        take_step(run, batches, check=True)
        seconds, ended = time.monotonic() - ended, time.monotonic()  # of the last: the first one also warms up
    held = run.plan.cases.of("val")
    started = time.monotonic()
    if held:
        validate(run.bundle(), held[:1], device=device, fully=False)
    validation = (time.monotonic() - started) * len(held)
    rounds = settings.steps // settings.validate_every if settings.validate_every else 1
    return {
        "status": "dry run",
        "seconds_a_step": round(seconds, 3),
        "seconds_a_validation": round(validation, 1),
        "hours": round((seconds * settings.steps + validation * max(rounds, 1)) / 3600, 2),
        "memory_gib": round(_peak_gib(device), 2),
        "device": str(device),
    }


def _peak_gib(device: torch.device) -> float:
    """Return the most memory in use so far: of the GPU, or of the process."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else peak_gib()
