"""One optimiser step: batches on the device, the loss, its gradient, and what the record says about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from safetensors.torch import save_file
from torch import Tensor

from segfocal.batch import Batch
from segfocal.data.sampling.dataset import SliceDataset, Steps, load
from segfocal.data.sampling.hard_examples import LastLosses, blocks
from segfocal.engine.health import Watch
from segfocal.engine.prefetch import on_device
from segfocal.engine.run import Run
from segfocal.errors import UserError
from segfocal.losses import LossReport


def batches_of(run: Run, dataset: SliceDataset, watch: Watch) -> Iterator[list[Batch]]:
    """Yield the forward passes of each remaining step, augmented, on the device.

    With data.replay the loading stops wherever the odds are renewed, so that nothing is drawn ahead by old ones.
    """
    settings, losses = run.plan.settings, run.losses
    every = run.plan.sampling.replay_every if losses and not settings.overfit else settings.steps
    for first, last in blocks(run.progress.step, settings.steps, every):
        if losses and first % every == 0:
            losses.renew()
        yield from _batches(run, dataset, watch, first=first, last=last)


def _batches(run: Run, dataset: SliceDataset, watch: Watch, *, first: int, last: int) -> Iterator[list[Batch]]:
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
    for batch in watch.waiting_for(on_device(loaded, accelerator.device)):
        batch = plan.augment(batch, size=plan.window)
        gathered.append(batch.channels_last() if plan.settings.channels_last else batch)
        if len(gathered) == many:
            yield gathered
            gathered = []


def take_step(run: Run, batches: list[Batch], *, check: bool) -> dict[str, float]:
    """Make one optimiser step with the forward passes `batches`; return its row of the record.

    check: look at values too, such as soft targets out of range, before they do harm (synchronises a GPU).
    """
    criterion = run.plan.task.criterion
    rate = float(run.schedule.get_last_lr()[0])
    followed = criterion.at(run.progress.step / run.plan.settings.steps)
    criterion.check_values(check)
    report, norm = _optimise(run, batches)
    run.progress.step += 1
    return {
        "step": run.progress.step,
        **_numbers(run, {"loss": report.total, **report.terms, **report.anatomy}),
        **followed,
        "lr": rate,
        "grad_norm": norm,
        "skipped": run.progress.skipped,
    }


def _optimise(run: Run, batches: list[Batch]) -> tuple[LossReport, float]:
    """Make one optimiser step; return the mean loss and the gradient norm before clipping."""
    run.task.train()
    reports, norm = [], 0.0
    for batch in batches:
        with run.accelerator.accumulate(run.task):
            report = _loss(run, batch)
            _check_finite(run, report, batch)
            if run.losses:
                _note(run, run.losses, report, batch)
            run.accelerator.backward(report.total)
            if run.accelerator.sync_gradients:
                limit = run.plan.settings.clip_norm
                norm = float(run.accelerator.clip_grad_norm_(run.task.parameters(), limit or float("inf")))
                _check_gradient(run, norm, batch)
            run.optimizer.step()
            run.optimizer.zero_grad()
            reports.append(report)
    if run.optimizer.step_was_skipped:  # by the fp16 scaler: the weights have not moved
        run.progress.skipped += 1
        return LossReport.mean(reports), norm
    run.schedule.step()
    if run.average:
        run.average.update_parameters(run.accelerator.unwrap_model(run.task).model)
    return LossReport.mean(reports), norm


def _loss(run: Run, batch: Batch) -> LossReport:
    """Return the loss of a batch; what a loss says about its values (in the first step) names the batch too."""
    try:
        return run.task(batch)
    except ValueError as error:
        raise UserError(
            expected="a batch that fits the model and the loss",
            found=str(error),
            where="; ".join(map(str, batch.origins)),
            do="change that option, or look at these slices",
        ) from error


def _note(run: Run, losses: LastLosses, report: LossReport, batch: Batch) -> None:
    """Remember how hard each sample was, the same in every process."""
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


def _check_finite(run: Run, report: LossReport, batch: Batch) -> None:
    """Stop before a non-finite loss reaches the weights (reads the loss: synchronises the GPU)."""
    if torch.isfinite(report.total):
        return
    terms = [name for name, value in report.terms.items() if not torch.isfinite(value)] or ["total"]
    found = f"{report.total.item()} at step {run.progress.step + 1}, from {', '.join(terms)}"
    _stop(run, batch, expected="a finite loss", found=found)


def _check_gradient(run: Run, norm: float, batch: Batch) -> None:
    """Stop before a non-finite gradient reaches the weights; under fp16 the scaler skips such a step itself."""
    if not math.isfinite(norm) and run.accelerator.scaler is None:
        found = f"a norm of {norm} at step {run.progress.step + 1}"
        _stop(run, batch, expected="a finite gradient", found=found)


def _stop(run: Run, batch: Batch, *, expected: str, found: str) -> None:
    """Keep the batch for a second look, and raise UserError."""
    kept = run.folder / "failed_batch.safetensors"
    save_file({"image": batch.image.contiguous(), "target": batch.target.contiguous()}, kept)
    raise UserError(
        expected=expected,
        found=found,
        where="; ".join(map(str, batch.origins)),
        do=f"lower train.lr, set train.clip_norm, or look at these slices (as the loss saw them: {kept})",
    )


def _numbers(run: Run, values: Mapping[str, Tensor]) -> dict[str, float]:
    """Read the mean of each value over all processes, all at once (synchronises the GPU)."""
    stacked = torch.stack([value.detach().float() for value in values.values()])
    return dict(zip(values, run.accelerator.reduce(stacked, "mean").tolist(), strict=True))
