"""A training run from its plan to its summary: what is made ready, begun, trained and finished, in this order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.engine import checkpoint
from segfocal.engine.finish import finish
from segfocal.engine.loop import train_loop
from segfocal.engine.plan import Plan
from segfocal.engine.ready import ReadyRun, ready_run
from segfocal.engine.record import Record, environment, note_parameters
from segfocal.engine.trackers import start_tracker
from segfocal.files import write_json, write_text


def train(plan: Plan, folder: Path) -> dict[str, Any]:
    """Train by `plan`, leave everything in `folder`, and return what `summary.json` says; {} but in the main process.

    Raises:
        UserError: data that cannot be used, a folder that cannot be written, a loss that is not finite.
    """
    with begun(plan, folder) as training:
        return training.complete()


@contextmanager
def begun(plan: Plan, folder: Path) -> Iterator[Training]:
    """Yield a run that has passed every check and has taken `folder` for its own."""
    started = time.monotonic()
    with ready_run(plan, folder) as ready:
        accelerator = ready.run.accelerator
        if accelerator.is_main_process:
            precision = {"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision)
            write_json(ready.run.folder / "environment.json", environment(precision))
            checkpoint.remove_unfinished(ready.run.folder)
            if plan.resume is None:
                checkpoint.clear(ready.run.folder)
            write_text(ready.run.folder / "config.yaml", plan.config)
        yield Training(ready=ready, started=started)


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """A run that has begun; `complete` trains it to its end."""

    ready: ReadyRun
    started: float

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.ready.run.accelerator.is_main_process

    def complete(self) -> dict[str, Any]:
        """Train, and return the summary; {} but in the main process."""
        run, names = self.ready.run, [structure.name for structure in self.ready.run.plan.preparation.structures]
        record = None
        if self.is_main:
            note_parameters(run.folder, run.plan.task.model)
            record = Record(run.folder, criterion=run.plan.task.criterion, structures=names, first=run.state.step)
            start_tracker(run.accelerator, run.plan.settings.tracker, run.folder)
        stopped_early = train_loop(run, self.ready.dataset, record)
        if record is None:
            return {}
        outcome = {
            "status": "stopped early" if stopped_early else "finished",
            "pixel_rates": dict(zip(["background", *names], self.ready.rates, strict=True)),
        }
        return finish(run, record, outcome, started=self.started)
