"""The training loop, as things happen: batches → forward → loss → backward → step → record → validate → save.

`train_steps` learns and `train_loop` keeps what comes of it. Before the loop: ready.py; after it: finish.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from segfocal.data.sampling.dataset import SliceDataset
from segfocal.engine.across_processes import in_any_process, mean_over_processes
from segfocal.engine.batch_checks import check_gradient, check_loss, naming_slices
from segfocal.engine.batches import batches_of, loss_cells, loss_targets, remember_hardness
from segfocal.engine.health import Health
from segfocal.engine.monitor import monitored
from segfocal.engine.record import Record
from segfocal.engine.run import Run, save
from segfocal.engine.signals import Stopped
from segfocal.engine.trackers import track
from segfocal.engine.validate_run import validate_run
from segfocal.losses import LossReport


def train_steps(run: Run, dataset: SliceDataset, health: Health) -> Iterator[dict[str, float]]:
    """Make the optimiser steps that remain; yield after each its row of the record."""
    settings, state, accelerator = run.plan.settings, run.state, run.accelerator
    task, optimizer, criterion = run.task, run.optimizer, run.plan.task.criterion
    criterion.check_values(True)  # in the first step only: it synchronises a GPU
    run.stopwatch.start()

    for batches in batches_of(run, dataset, health):  # of one optimiser step: `train.accumulate` of them
        if run.is_complete:  # its minutes are used
            return
        task.train()
        lr, followed = run.lr, criterion.at(run.used)  # values that follow training, such as γ
        reports, norm = [], 0.0
        with criterion.one_step(loss_targets(run, batches), loss_cells(run, batches)):  # sums over all, known first
            for batch in batches:
                with accelerator.accumulate(task):
                    with naming_slices(batch):
                        report = task(batch)  # forward, loss: the task asks the model, its criterion judges the logits
                    check_loss(report, batch, step=state.step + 1, folder=run.folder)
                    remember_hardness(run, report, batch)

                    accelerator.backward(report.total)  # divided by train.accumulate

                    if accelerator.sync_gradients:  # at the last of the batches
                        norm = float(accelerator.clip_grad_norm_(task.parameters(), settings.clip_norm or math.inf))
                        if accelerator.scaler is None:  # under fp16 it skips a step that is not finite
                            check_gradient(norm, batch, step=state.step + 1, folder=run.folder)
                    optimizer.step()  # waits for the last of the batches too
                    optimizer.zero_grad()
                    reports.append(report)
        run.after_step()  # learning rate, averaged weights, count of steps
        criterion.check_values(False)

        mean = LossReport.mean(reports)
        losses = mean_over_processes(accelerator, {"loss": mean.total, **mean.terms, **mean.anatomy})
        yield {"step": state.step, **losses, **followed, "lr": lr, "grad_norm": norm, "skipped": state.skipped}


def train_loop(run: Run, dataset: SliceDataset, record: Record | None) -> bool:
    """Train to the last step, or stop early and return True; `record` is None but in the main process.

    Raises:
        Stopped: a signal asked for it; the state is saved.
    """
    accelerator = run.accelerator
    if run.out_of_patience:
        return True  # it had stopped, and was killed before its end
    with monitored(run, seconds=record.seconds if record else 0.0) as monitor:
        for row in train_steps(run, dataset, monitor.health):
            row |= monitor.measure(row["loss"])  # seconds, throughput

            if run.validation_is_due:
                with monitor.health.paused():
                    row |= validate_run(run, monitor)  # whole held-out volumes
            if record:  # before the checkpoint, so that no row of a saved step is missing
                record.add(row)
                track(accelerator, row)

            asked = in_any_process(accelerator, monitor.asked_to_stop)
            if run.validation_is_due or asked or in_any_process(accelerator, monitor.save_is_due):
                with monitor.health.paused():
                    saved = save(run)
                monitor.note_saved(saved)
            monitor.show(row)

            if asked and not run.is_complete:
                raise Stopped(monitor.signal, step=run.state.step, folder=run.folder, saved=monitor.last_saved)
            if in_any_process(accelerator, run.out_of_patience):
                return True
    return False
