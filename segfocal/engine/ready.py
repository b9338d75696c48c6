"""What comes before the training loop: every check, the prepared scans, and the run built on its device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segfocal.data.sampling.dataset import SliceDataset
from segfocal.data.sampling.object_dataset import dataset_of
from segfocal.data.store.prepare import check_pairs, prepare
from segfocal.data.store.prepared_case import check_foreground, pixel_rates
from segfocal.engine.across_processes import main_folder, naming_lost_processes
from segfocal.engine.build_run import build_run
from segfocal.engine.connect import connect, disconnect
from segfocal.engine.organ_rules import organ_rules
from segfocal.engine.plan import Plan
from segfocal.engine.progress import CaseProgress
from segfocal.engine.run import Run
from segfocal.errors import warn
from segfocal.files import make_folder
from segfocal.inference.postprocess import PostprocessRules
from segfocal.intensity_statistics import over_cases


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadyRun:
    """A run that can begin: its samples, and the share of training pixels of the background and of each structure."""

    run: Run
    dataset: SliceDataset
    rates: tuple[float, ...]


@contextmanager
def ready_run(plan: Plan, folder: Path) -> Iterator[ReadyRun]:
    """Check and prepare what `plan` needs, and yield the run; its processes part when the block ends.

    Raises:
        UserError: data that cannot be used, a folder that cannot be written, options that do not fit the device.
    """
    accelerator = connect(plan.settings, folder, dims=len(plan.window))
    try:
        with naming_lost_processes(accelerator, timeout=plan.settings.process_timeout):
            folder = main_folder(folder)
            make_folder(folder)
            check_pairs(plan.cases.of("val"))  # before any work, not at the first validation
            workers = max(1, plan.settings.workers)
            with accelerator.main_process_first(), CaseProgress(silent=not accelerator.is_main_process) as shown:
                prepared = prepare(plan.cases.of("train"), plan.preparation, plan.cache, workers=workers, shown=shown)
            check_foreground(prepared, plan.preparation.structures, where=plan.where)
            rates = tuple(pixel_rates(prepared))
            dataset = dataset_of(prepared, len(plan.preparation.structures), plan.sampling)
            run = build_run(plan, folder, accelerator, rates=rates, losses=dataset.losses)
            run.values = over_cases([case.percentiles for case in prepared])
            run.rules = _rules_of(plan)
            _tell_what_accumulates(run)
        yield ReadyRun(run=run, dataset=dataset, rates=rates)
    finally:
        disconnect(accelerator)


def _rules_of(plan: Plan) -> dict[str, PostprocessRules]:
    """Return the post-processing that the training labels ask for; none where what is asked for is up to a prompt."""
    wanted = plan.settings.postprocess == "labels" and not plan.task.needs_prompts and not plan.preparation.by_object
    return organ_rules(plan.cases.of("train"), plan.preparation.structures) if wanted else {}


def _tell_what_accumulates(run: Run) -> None:
    """Warn once of losses that several batches a step cannot make up."""
    terms, batches = run.plan.task.criterion.spanning_batch, run.plan.settings.accumulate
    if batches > 1 and terms and run.accelerator.is_main_process:
        warn(
            f"loss terms over a whole batch, {', '.join(terms)}, are those of each of the {batches} batches of "
            f"train.accumulate={batches}, not of the step; batch=false makes a term of each sample",
            stacklevel=2,
        )
