"""The training loop: batch, augment, loss, backward, step; now and then validate whole volumes and save."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from torch import Tensor

from segfocal.batch import Batch
from segfocal.data.loader import SliceDataset, Steps, load
from segfocal.data.prepared import check_foreground, check_pairs, pixel_rates, prepare
from segfocal.engine import checkpoint
from segfocal.engine.plan import Plan
from segfocal.engine.progress import StepProgress
from segfocal.engine.record import Record, environment
from segfocal.engine.run import Run, start
from segfocal.engine.validate import Score, mean_dice, validate
from segfocal.errors import UserError
from segfocal.inference import bundle as bundles
from segfocal.io.files import make_folder, write_json, write_text
from segfocal.losses import LossReport


def train(plan: Plan, folder: Path, *, config: str = "") -> dict[str, Any]:
    """Train by `plan`, leave everything in `folder`, and return what `summary.json` says.

    config: the options the plan was built from, kept as `config.yaml`.

    Raises:
        UserError: data that cannot be used, a folder that cannot be written, a loss that is not finite.
    """
    started = time.monotonic()
    make_folder(folder)
    _check_held_out(plan)
    check_pairs(plan.cases.of("val"))  # before any work, not at the first validation
    prepared = prepare(plan.cases.of("train"), plan.preparation, plan.cache)
    check_foreground(prepared, plan.preparation.structures, where=plan.where)
    try:
        rates = pixel_rates(prepared)
        run = start(plan, folder, rates=rates)
        write_json(folder / "environment.json", environment())
        write_text(folder / "config.yaml", config)
        names = [structure.name for structure in plan.preparation.structures]
        record = Record(folder, criterion=plan.task.criterion, structures=names, first=run.progress.step)
        stopped_early = _loop(run, SliceDataset(prepared, len(names), plan.sampling), record)
        facts = {
            "status": "stopped early" if stopped_early else "finished",
            "pixel_rates": dict(zip(["background", *names], rates, strict=True)),
        }
        return _finish(run, record, facts, seconds=time.monotonic() - started)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)  # the next run of a multirun may differ in precision


def _check_held_out(plan: Plan) -> None:
    """Raise UserError when a choice that looks at held-out scans is made without any."""
    settings = plan.settings
    if (settings.keep == "best" or settings.patience is not None) and not plan.cases.of("val"):
        raise UserError(
            expected="validation cases for train.keep=best and train.patience",
            found="none",
            where=plan.where,
            do="give some cases the split val, set data.hold_out, or leave these options out",
        )


def _loop(run: Run, dataset: SliceDataset, record: Record) -> bool:
    """Train to the last step, or stop early and return True."""
    settings, accelerator = run.plan.settings, run.accelerator
    criterion = run.plan.task.criterion
    started = time.monotonic() - (record.rows[-1]["seconds"] if record.rows else 0.0)
    first = run.progress.step
    with StepProgress(total=settings.steps, done=run.progress.step, silent=not accelerator.is_main_process) as shown:
        for batches in _steps(run, dataset):
            rate = run.schedule.get_last_lr()[0]
            followed = criterion.at(run.progress.step / settings.steps)
            criterion.check_values(run.progress.step == first)
            report, norm = _step(run, batches)
            run.progress.step += 1
            values = _numbers({"loss": report.total, **report.terms})
            row = {
                "step": run.progress.step,
                **values,
                **_numbers(report.anatomy),
                **followed,
                "lr": rate,
                "grad_norm": norm,
                "skipped": run.progress.skipped,
                "seconds": round(time.monotonic() - started, 3),
            }
            due = settings.validate_every and run.progress.step % settings.validate_every == 0
            due = due or run.progress.step == settings.steps
            if due:
                row |= _validated(run, shown)
            if accelerator.is_main_process:
                record.add(row)
            if due:
                checkpoint.save(accelerator, run.folder / "checkpoints" / "last")
            shown.step(run.progress.step, " ".join(f"{name} {value:.4f}" for name, value in values.items()))
            if settings.patience is not None and run.progress.stale >= settings.patience:
                return True
    return False


def _steps(run: Run, dataset: SliceDataset) -> Iterator[list[Batch]]:
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


def _step(run: Run, batches: list[Batch]) -> tuple[LossReport, float]:
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


def _numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Read all values at once (synchronises the GPU)."""
    if not values:
        return {}
    return dict(zip(values, torch.stack([value.double() for value in values.values()]).tolist(), strict=True))


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


def _validated(run: Run, shown: StepProgress) -> dict[str, float]:
    """Validate and perhaps save the best bundle; return the scores for the record."""
    progress, held = run.progress, run.plan.cases.of("val")
    row: dict[str, float] = {}
    if run.accelerator.is_main_process and held:
        scores = validate(run.bundle(), held, device=run.accelerator.device, with_boxes=False)
        row = {f"val_dice_{s.name}": mean_dice(scores, structure=s.name) for s in run.plan.preparation.structures}
        row["val_dice"] = mean_dice(scores)
        shown.note(f"step {progress.step}: Dice on {len(held)} held-out scan(s) {row['val_dice']:.3f}")
        better = row["val_dice"] > progress.best_dice
        progress.stale = 0 if better else progress.stale + 1
        if better:
            progress.best_dice, progress.best_step = row["val_dice"], progress.step
            bundles.save(run.bundle(), run.folder / "checkpoints" / "best")
    run.accelerator.wait_for_everyone()
    return row


def _finish(run: Run, record: Record, outcome: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    """Write the bundle, the final scores with their pictures, the curves and the summary."""
    if not run.accelerator.is_main_process:
        return {}
    held, best = run.plan.cases.of("val"), run.folder / "checkpoints" / "best"
    keep_best = run.plan.settings.keep == "best" and run.progress.best_step > 0
    bundle = bundles.load(best) if keep_best else run.bundle()
    bundle.model.to(run.accelerator.device)
    bundles.save(bundle, run.folder / "bundle")
    scores = validate(bundle, held, device=run.accelerator.device, with_boxes=True, pictures=run.folder / "overlays")
    record.draw()
    facts = {
        **outcome,
        "steps": run.progress.step,
        "seconds": round(seconds, 1),
        "bundle": {
            "folder": "bundle",
            "weights": "best" if keep_best else "last",
            "step": run.progress.best_step if keep_best else run.progress.step,
        },
        "best": {"step": run.progress.best_step, "dice": run.progress.best_dice} if held else None,
        "skipped_steps": run.progress.skipped,
        "parameters": sum(p.numel() for p in bundle.model.parameters()),
        "scores": [_as_row(score) for score in scores],
    }
    record.summarise(facts)
    return facts


def _as_row(score: Score) -> dict[str, Any]:
    return {"case": score.case, "structure": score.structure, "prompt": score.prompt, **score.counts.row()}
