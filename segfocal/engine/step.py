"""One optimiser step: batches on the device, the loss, its gradient, and what the record says about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from segfocal.batch import Batch
from segfocal.data.loader import SliceDataset, Steps, load
from segfocal.engine.run import Run
from segfocal.errors import UserError
from segfocal.losses import LossReport


def batches_of(run: Run, dataset: SliceDataset) -> Iterator[list[Batch]]:
    """Yield the forward passes of each remaining step, augmented, on the device."""
    plan, accelerator, many = run.plan, run.accelerator, run.plan.settings.accumulate
    steps = Steps(
        seed=plan.seed,
        first=run.progress.step,
        last=plan.settings.steps,
        batch_size=plan.settings.batch_size,
        accumulate=many,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
    )
    gathered: list[Batch] = []
    for batch in load(dataset, steps, workers=plan.settings.workers, pin=accelerator.device.type == "cuda"):
        gathered.append(plan.augment(batch.to(accelerator.device), size=plan.window))
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
            _check_finite(report, batch, run.progress.step + 1)
            run.accelerator.backward(report.total)
            if run.accelerator.sync_gradients:
                limit = run.plan.settings.clip_norm
                norm = float(run.accelerator.clip_grad_norm_(run.task.parameters(), limit or float("inf")))
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
            where="; ".join(batch.sources),
            do="change that option, or look at these slices",
        ) from error


def _check_finite(report: LossReport, batch: Batch, step: int) -> None:
    """Stop before a non-finite loss reaches the weights (reads the loss: synchronises the GPU)."""
    if torch.isfinite(report.total):
        return
    terms = [name for name, value in report.terms.items() if not torch.isfinite(value)] or ["total"]
    raise UserError(
        expected="a finite loss",
        found=f"{report.total.item()} at step {step}, from {', '.join(terms)}",
        where="; ".join(batch.sources),
        do="look at these slices, lower train.lr, or use train.precision=fp32",
    )


def _numbers(run: Run, values: Mapping[str, Tensor]) -> dict[str, float]:
    """Read the mean of each value over all processes, all at once (synchronises the GPU)."""
    stacked = torch.stack([value.detach().double() for value in values.values()])
    return dict(zip(values, run.accelerator.reduce(stacked, "mean").tolist(), strict=True))
