"""What accompanies a training loop: progress bar, health, profile, seconds, and signals that ask it to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from segfocal.data.sampling.workers import naming_lost_workers
from segfocal.engine.across_processes import naming_lost_processes
from segfocal.engine.health import Health
from segfocal.engine.profiling import profiler
from segfocal.engine.progress import StepProgress
from segfocal.engine.run import Run
from segfocal.engine.signals import StopRequest


@contextmanager
def monitored(run: Run, *, seconds: float) -> Iterator[Monitor]:
    """Yield the monitor of a run that has trained for `seconds` before; it listens for signals until the block ends.

    Raises:
        UserError: a loading process, or one that trains with this one, died or hangs.
    """
    settings, silent = run.plan.settings, not run.accelerator.is_main_process
    started = time.monotonic() - seconds
    with (
        _progress(run, silent=silent) as bar,
        naming_lost_processes(run.accelerator, timeout=settings.process_timeout),
        naming_lost_workers(settings.workers, timeout=settings.worker_timeout),
        StopRequest() as stop,
        profiler(run.folder / "trace.json", wanted=settings.profile and not silent) as profiled,
    ):
        yield Monitor(run, bar=bar, stop=stop, profiled=profiled, started=started)


def _progress(run: Run, *, silent: bool) -> StepProgress:
    minutes = run.plan.settings.minutes
    if minutes is None:
        return StepProgress(total=run.plan.settings.steps, done=run.state.step, silent=silent)
    return StepProgress(total=round(60 * minutes), done=int(run.state.seconds), silent=silent, noun="second")


class Monitor:
    """Measures and shows each step, and says when a checkpoint is due or a stop is asked for.

    Args:
        run: the run that is monitored; only read.
        bar: shows steps and prints lines that stay.
        stop: has heard a signal, or not yet.
        profiled: is called after each step.
        started: when training began by `time.monotonic`; earlier by what a resumed run had trained before.
    """

    def __init__(
        self, run: Run, *, bar: StepProgress, stop: StopRequest, profiled: Callable[[], None], started: float
    ) -> None:
        self.bar, self.stop, self.profiled, self.started = bar, stop, profiled, started
        self.settings, self.losses = run.plan.settings, ["loss", *run.plan.task.criterion.weights]
        steady = not run.plan.task.criterion.followed
        self.health = Health(bar.note, device=run.accelerator.device, steady=steady)
        self.saved_at, self.last_saved = time.monotonic(), False

    def measure(self, loss: float) -> dict[str, float]:
        """Note that a step is made; return its throughput and the seconds so far, for the record."""
        measured = self.health.step(loss, samples=self.settings.batch_size)
        self.profiled()
        return measured | {"seconds": round(time.monotonic() - self.started, 3)}

    @property
    def save_is_due(self) -> bool:
        """Whether `train.save_minutes` have passed since the last checkpoint."""
        return time.monotonic() - self.saved_at > 60 * (self.settings.save_minutes or math.inf)

    def note_saved(self, written: bool) -> None:
        """Note a try to save a checkpoint, and whether it was written."""
        self.saved_at, self.last_saved = time.monotonic(), written

    def show(self, row: Mapping[str, Any]) -> None:
        """Show a step and its losses."""
        losses = " ".join(f"{name} {row[name]:.4f}" for name in self.losses)
        if self.settings.minutes is None:
            self.bar.step(row["step"], losses)
        else:
            self.bar.step(min(int(row["seconds"]), self.bar.total), f"step {row['step']} {losses}")

    @property
    def asked_to_stop(self) -> bool:
        """Whether this process has heard a signal."""
        return self.stop.name is not None

    @property
    def signal(self) -> str:
        """The signal that asks to stop; SIGTERM where only another process has heard one."""
        return self.stop.name or "SIGTERM"
