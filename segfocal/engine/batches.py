"""The batches of a run: loaded, brought to the device, augmented there, and gathered to one list an optimiser step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from segfocal.batch import Batch
from segfocal.data.sampling.dataset import SliceDataset, Steps, load
from segfocal.data.sampling.hard_examples import blocks
from segfocal.engine.budget import MOST_STEPS
from segfocal.engine.health import Health
from segfocal.engine.prefetch import on_device
from segfocal.engine.run import Run
from segfocal.errors import UserError
from segfocal.losses import LossReport


def batches_of(run: Run, dataset: SliceDataset, health: Health) -> Iterator[list[Batch]]:
    """Yield the batches of each remaining step, `train.accumulate` of them, augmented, on the device.

    With data.replay the loading stops wherever the odds are renewed, so that nothing is drawn ahead by old ones.
    """
    settings, losses = run.plan.settings, run.losses
    end = settings.steps if settings.minutes is None else MOST_STEPS
    every = run.plan.sampling.replay_every if losses and not settings.overfit else end
    for first, last in blocks(run.state.step, end, every):
        if losses and first % every == 0:
            losses.renew()
        yield from _batches(run, dataset, health, first=first, last=last)


def _batches(run: Run, dataset: SliceDataset, health: Health, *, first: int, last: int) -> Iterator[list[Batch]]:
    plan, accelerator, many = run.plan, run.accelerator, run.plan.settings.accumulate
    steps = Steps(
        seed=plan.seed,
        first=first,
        last=last,
        batch_size=plan.settings.batch_size,
        accumulate=many,
        cycle=plan.settings.overfit,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
    )
    gathered: list[Batch] = []
    loaded = load(
        dataset,
        steps,
        workers=plan.settings.workers,
        pin=accelerator.device.type == "cuda",
        timeout=plan.settings.worker_timeout,
    )
    for batch in health.waiting_for(on_device(loaded, accelerator.device)):
        batch = plan.augment(batch, size=plan.window)
        gathered.append(batch.channels_last() if run.channels_last else batch)
        if len(gathered) == many:
            yield gathered
            gathered = []


def loss_targets(run: Run, batches: Sequence[Batch]) -> list[Tensor]:
    """Return the targets of all batches of a step where there are several, none where a batch is the step."""
    return [run.plan.task.loss_target(batch) for batch in batches] if len(batches) > 1 else []


def loss_cells(run: Run, batches: Sequence[Batch]) -> list[Tensor]:
    """Return the cells of the components of these targets, for a loss that counts them; else none."""
    if len(batches) < 2 or not run.plan.task.criterion.uses_components:
        return []
    found = [run.plan.task.loss_cells(batch) for batch in batches]
    return [cells for cells in found if cells is not None]


def remember_hardness(run: Run, report: LossReport, batch: Batch) -> None:
    """Note how hard each sample was, the same in every process, for the draws of data.replay; without it do nothing."""
    losses = run.losses
    if not losses:
        return
    if report.hardness is None:
        raise UserError(
            expected="a task that says how hard each sample is, for data.replay",
            found=f"none from {type(run.plan.task).__name__}",
            do="set data.replay=0, or return the report of its criterion",
        )
    hardness = report.hardness.reshape(len(batch), -1).mean(1)  # of the prompts of an image
    slots = torch.tensor([losses.slot(origin) for origin in batch.origins], device=hardness.device)
    numbers, values = run.accelerator.gather((slots, hardness))
    losses.note(numbers.cpu().numpy(), values.cpu().numpy())
