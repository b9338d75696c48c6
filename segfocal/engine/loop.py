"""The training loop: batch, augment, loss, backward, step; now and then validate whole volumes and save."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError

from segfocal.data.sampling.dataset import SliceDataset
from segfocal.data.sampling.object_dataset import dataset_of
from segfocal.data.sampling.workers import naming_lost_workers
from segfocal.data.store.prepare import check_pairs, prepare
from segfocal.data.store.prepared_case import check_foreground, pixel_rates
from segfocal.engine import checkpoint
from segfocal.engine.dry_run import rehearse
from segfocal.engine.health import Watch
from segfocal.engine.plan import Plan
from segfocal.engine.postprocess_choice import choose_rules
from segfocal.engine.profiling import profiler
from segfocal.engine.progress import CaseProgress, StepProgress
from segfocal.engine.record import Record, environment, note_parameters
from segfocal.engine.run import Run, connect, start
from segfocal.engine.signals import Stopped, StopRequest
from segfocal.engine.step import batches_of, take_step
from segfocal.engine.trackers import start_tracker, track
from segfocal.engine.validate import Score, mean_dice, validate
from segfocal.errors import UserError
from segfocal.files import make_folder, write_json, write_text
from segfocal.inference import bundle as bundles


def train(plan: Plan, folder: Path, *, config: str = "", begun: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Train by `plan`, leave everything in `folder`, and return what `summary.json` says; {} but in the main process.

    config: the options the plan was built from, kept as `config.yaml`. begun: is called when every check has passed.

    Raises:
        UserError: data that cannot be used, a folder that cannot be written, a loss that is not finite.
    """
    started = time.monotonic()
    _check_held_out(plan)
    accelerator = connect(plan.settings, folder)
    try:
        folder = _shared(folder)
        make_folder(folder)
        check_pairs(plan.cases.of("val"))  # before any work, not at the first validation
        with accelerator.main_process_first(), CaseProgress(silent=not accelerator.is_main_process) as shown:
            workers = max(1, plan.settings.workers)
            prepared = prepare(plan.cases.of("train"), plan.preparation, plan.cache, workers=workers, shown=shown)
        check_foreground(prepared, plan.preparation.structures, where=plan.where)
        rates = pixel_rates(prepared)
        names = [structure.name for structure in plan.preparation.structures]
        dataset = dataset_of(prepared, len(names), plan.sampling)
        run = start(plan, folder, accelerator, rates=rates, losses=dataset.losses)
        if plan.settings.dry_run:
            return rehearse(run, dataset)
        record = None
        if accelerator.is_main_process:
            write_json(folder / "environment.json", environment())
            if plan.resume is None:
                checkpoint.clear(folder)
            write_text(folder / "config.yaml", config)
            begun()
            note_parameters(folder, plan.task.model)
            record = Record(folder, criterion=plan.task.criterion, structures=names, first=run.progress.step)
            start_tracker(accelerator, plan.settings.tracker, folder)
        stopped_early = _loop(run, dataset, record)
        outcome = {
            "status": "stopped early" if stopped_early else "finished",
            "pixel_rates": dict(zip(["background", *names], rates, strict=True)),
        }
        return _finish(run, record, outcome, seconds=time.monotonic() - started)
    finally:
        accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)  # the next run of a multirun may differ in precision


def _shared(folder: Path) -> Path:
    """Return the main process's run directory in every process."""
    return Path(broadcast_object_list([str(folder)])[0])


def _check_held_out(plan: Plan) -> None:
    """Raise UserError when a choice that looks at held-out scans is made without any."""
    settings = plan.settings
    looks = settings.keep == "best" or settings.patience is not None or settings.schedule == "plateau"
    looks = looks or settings.postprocess == "auto"
    if looks and not plan.cases.of("val"):
        raise UserError(
            expected="validation cases for train.keep=best, patience, postprocess=auto and schedule=plateau",
            found="none",
            where=plan.where,
            do="give some cases the split val, set data.hold_out, or leave these options out",
        )


def _loop(run: Run, dataset: SliceDataset, record: Record | None) -> bool:
    """Train to the last step, or stop early and return True.

    Raises:
        Stopped: a signal asked for it; the state is saved.
    """
    settings, accelerator, first = run.plan.settings, run.accelerator, run.progress.step
    started = time.monotonic() - (record.seconds if record else 0.0)
    saved = time.monotonic()
    silent, kept = not accelerator.is_main_process, False
    if settings.patience is not None and run.progress.stale >= settings.patience:
        return True  # it had stopped, and was killed before its end
    with (
        StepProgress(total=settings.steps, done=first, silent=silent) as shown,
        naming_lost_workers(settings.workers, timeout=settings.worker_timeout),
        StopRequest() as stop,
        profiler(run.folder / "trace.json", wanted=settings.profile and not silent) as profiled,
    ):
        watch = Watch(shown.note, device=accelerator.device, steady=not run.plan.task.criterion.followed)
        for batches in batches_of(run, dataset, watch):
            row = take_step(run, batches, check=run.progress.step == first)
            row |= watch.step(row["loss"], samples=settings.batch_size)
            profiled()
            row["seconds"] = round(time.monotonic() - started, 3)
            due = _validation_is_due(run)
            if due:
                with watch.paused():
                    row |= _validated(run, shown, watch)
                stale = run.progress.stale
                run.progress.plateaus += _any(accelerator, stale > 0 and stale % settings.plateau == 0)
            if record:
                record.add(row)
                track(accelerator, row)
            asked = _any(accelerator, stop.name is not None)
            late = time.monotonic() - saved > 60 * (settings.save_minutes or math.inf)
            if due or asked or _any(accelerator, late):
                with watch.paused():
                    kept = _save(run)
                saved = time.monotonic()
            losses = ["loss", *run.plan.task.criterion.weights]
            shown.step(run.progress.step, " ".join(f"{name} {row[name]:.4f}" for name in losses))
            if asked and run.progress.step < settings.steps:
                raise Stopped(stop.name or "SIGTERM", step=run.progress.step, folder=run.folder, saved=kept)
            if _any(accelerator, settings.patience is not None and run.progress.stale >= settings.patience):
                return True
    return False


def _validation_is_due(run: Run) -> bool:
    step, settings = run.progress.step, run.plan.settings
    return step == settings.steps or bool(settings.validate_every and step % settings.validate_every == 0)


def _save(run: Run) -> bool:
    folder, keep = run.folder / "checkpoints", run.plan.settings.keep_checkpoints
    return checkpoint.save(run.accelerator, folder, step=run.progress.step, keep=keep)


def _any(accelerator: Accelerator, here: bool) -> bool:
    """Return whether the answer is yes in any process, so that all do the same."""
    if accelerator.num_processes == 1:
        return here
    return bool(accelerator.reduce(torch.tensor(float(here), device=accelerator.device)) > 0)


def _validated(run: Run, shown: StepProgress, watch: Watch) -> dict[str, float]:
    """Validate and perhaps save the best bundle; return the scores for the record."""
    progress, held = run.progress, run.plan.cases.of("val")
    row: dict[str, float] = {}
    if run.accelerator.is_main_process and held:
        scores = validate(run.bundle(), held, device=run.accelerator.device, fully=False)
        row = {f"val_dice_{s.name}": mean_dice(scores, structure=s.name) for s in run.plan.preparation.structures}
        row["val_dice"] = mean_dice(scores)
        shown.note(f"step {progress.step}: Dice on {len(held)} held-out scan(s) {row['val_dice']:.3f}")
        watch.validated(scores)
        better = row["val_dice"] > progress.best_dice
        progress.stale = 0 if better else progress.stale + 1
        if better:
            progress.best_dice, progress.best_step = row["val_dice"], progress.step
            try:
                bundles.save(run.bundle(), run.folder / "checkpoints" / "best")
            except (OSError, UserError, SafetensorError) as error:
                warnings.warn(f"the best bundle was not saved: {error}; the run goes on", stacklevel=2)
    run.accelerator.wait_for_everyone()
    return row


def _finish(run: Run, record: Record | None, outcome: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    """Write the bundle, the final scores with their pictures, the curves and the summary."""
    if record is None:
        return {}
    held, best = run.plan.cases.of("val"), run.folder / "checkpoints" / "best"
    keep_best = run.plan.settings.keep == "best" and run.progress.best_step > 0
    bundle = bundles.load(best) if keep_best else run.bundle()
    bundle.model.to(run.accelerator.device)
    tried: dict[str, Any] = {}
    if run.plan.settings.postprocess == "auto":
        rules, tried["postprocess"] = choose_rules(bundle, held, device=run.accelerator.device)
        bundle = replace(bundle, postprocess=rules)
    bundles.save(bundle, run.folder / "bundle")
    scores = validate(bundle, held, device=run.accelerator.device, fully=True, pictures=run.folder / "overlays")
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
        **tried,
        "scores": [_as_row(score) for score in scores],
    }
    record.summarise(facts)
    return facts


def _as_row(score: Score) -> dict[str, Any]:
    figures = {"auc": score.auc, "hd95_mm": score.hd95_mm, **score.counts.row()}
    return {"case": score.case, "structure": score.structure, "prompt": score.prompt, **figures}
