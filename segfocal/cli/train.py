"""`segfocal train`: config → plan → training → report."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from segfocal.cli.app import run, shown_path
from segfocal.cli.geometry_options import run_to_resume, with_geometry
from segfocal.cli.resume import AUTO, RunRequest, check_place, has_finished, resumed
from segfocal.cli.training_plan import build_plan
from segfocal.errors import UserError
from segfocal.plain_text import visible

if TYPE_CHECKING:
    from segfocal.engine.plan import Plan

_MOST_LINES = 60


def main() -> int:
    """Run the command; return its exit code."""
    from segfocal.cli.compare import AfterMultirun

    AfterMultirun.failed = 0
    return run("train", train) or min(AfterMultirun.failed, 1)


def train(config: DictConfig) -> float:
    """Train by a config in Hydra's run directory, print where things are, return the mean Dice for a sweeper.

    It is with boxes of a model that needs them, and NaN without held-out cases, and in all but the main process.
    """
    request = _request(config)
    config = with_geometry(config, resumes=run_to_resume(config.resume, request.folder))
    if config.train.dry_run is True:
        _print_estimate(build_plan(config))
        return math.nan
    summary = train_by(config, request)
    if not _is_main_process():
        return math.nan
    scores = summary.get("scores", [])
    _print_scores(scores)
    _print_places(request.folder)
    return _mean_dice(scores)


def train_by(config: DictConfig, request: RunRequest) -> dict[str, Any]:
    """Train by a config whose spacing and window are numbers, in the folder of a request; return the summary.

    Raises:
        UserError: as `train_in`, and options that do not fit together.
    """
    with _noting_refusal(request):
        _check_alone(config, request)
        plan = build_plan(config)
        if plan.weights and _is_main_process():
            print(visible(str(plan.weights)))
        return train_in(plan, request)


def train_in(plan: Plan, request: RunRequest) -> dict[str, Any]:
    """Train by a plan in the folder of a request; return the summary. With resume=auto a finished run is not repeated.

    Raises:
        UserError: a folder that holds a run already, or in which one is at work; a resume with other options; and
            whatever training raises.
    """
    from segfocal.compare.records import read_summary
    from segfocal.files import claims_recorded

    if has_finished(plan, request):
        if _is_main_process():
            print(f"finished before: {shown_path(request.folder)}")
        return read_summary(request.folder / "summary.json")
    with _held(request.folder), claims_recorded():  # of several runs in a command each is done when it ends
        return _train_held(plan, request)


def _held(folder: Path) -> AbstractContextManager[None]:
    """Hold a run directory against other runs: of several processes of one run the main one does."""
    from segfocal.folder_lock import only_one

    return only_one(folder, doing="train") if _is_main_process() else nullcontext()


def _train_held(plan: Plan, request: RunRequest) -> dict[str, Any]:
    from segfocal.engine.train import begun

    plan = resumed(plan, request)
    if _is_main_process():  # it checks for all
        check_place(plan, request)
    with begun(plan, request.folder) as training, _noting_failure(plan, request, writes=training.is_main):
        return training.complete()


def _request(config: DictConfig) -> RunRequest:
    """Return the run that the command line asks for: its folder and what was typed."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    return RunRequest(
        folder=Path(hydra.runtime.output_dir),
        overwrite=config.overwrite,
        automatic=config.resume == AUTO,
        overrides=tuple(hydra.overrides.task),
        choices={group: name for group, name in hydra.runtime.choices.items() if group != "cluster"},
        one_of_many=hydra.mode == RunMode.MULTIRUN,
    )


def _check_alone(config: DictConfig, request: RunRequest) -> None:
    """Raise UserError where workers are asked for, which do whole runs, and there is one run alone."""
    if not request.one_of_many and (config.get("cluster") or {}).get("kind", "none") != "none":
        raise UserError(
            expected="several runs (train -m, cross-validate) for the workers of a cluster",
            found=f"one run with cluster={config.cluster.kind}",
            do="leave cluster out; several GPUs train one run by torchrun or accelerate launch, see docs/scale.md",
        )


@contextmanager
def _noting_refusal(request: RunRequest) -> Iterator[None]:
    """Leave in the folder, if it can be written to, why a run of a sweep did not begin, for the table of the sweep."""
    from segfocal.compare.records import read_note
    from segfocal.compare.runs import REFUSED_FILE, RUN_FILE, note_refusal
    from segfocal.writable import check_writable

    check_writable(request.folder / RUN_FILE)
    (request.folder / REFUSED_FILE).unlink(missing_ok=True)  # of an earlier try
    try:
        yield
    except Exception as error:
        file = request.folder / RUN_FILE
        has_failed = file.is_file() and read_note(file).error is not None
        if request.one_of_many and not has_failed:
            note_refusal(request.folder, request.overrides, str(error))
        raise


@contextmanager
def _noting_failure(plan: Plan, request: RunRequest, *, writes: bool) -> Iterator[None]:
    """Leave in the folder what was typed and which weights a run begins with, and if it fails, why; where `writes`."""
    from segfocal.compare.runs import note_failure, note_start
    from segfocal.files import write_json

    if not writes:
        yield
        return
    try:
        note_start(request.folder, request.overrides, request.choices)
        if plan.weights:
            write_json(request.folder / "weights.json", plan.weights.row())
        yield
    except Exception as error:
        note_failure(request.folder, request.overrides, str(error) or type(error).__name__)
        raise


def _time_words(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"


def _print_estimate(plan: Plan) -> None:
    """Try a run in a folder that is forgotten, and print what the whole would take."""
    from segfocal.engine.dry_run import dry_run

    with TemporaryDirectory() as folder:
        estimate = dry_run(replace(plan, resume=None), Path(folder))
    if not _is_main_process():
        return
    validations = f"a validation: {estimate.seconds_a_validation} s; the last, with all metrics and pictures:"
    print(f"a step: {estimate.seconds_a_step} s; {validations} {estimate.seconds_last_validation} s")
    total = f"about {_time_words(3600 * estimate.hours)} and {estimate.memory_gib} GiB on {estimate.device}"
    print(f"{estimate.steps} steps, their validations and the last one: {total}")


def _print_scores(scores: Sequence[Mapping[str, Any]]) -> None:
    """Print Dice by case and structure, and what many more there are as their mean."""
    for score in scores[:_MOST_LINES]:
        line = f"{score['case']} {score['structure']} Dice, {prompt_words(score['prompt'])}: {score['dice']:.3f}"
        print(visible(line, lines=False))
    if len(scores) > _MOST_LINES:
        print(
            f"and {len(scores) - _MOST_LINES} more in summary.json; mean of all {fmean(s['dice'] for s in scores):.3f}"
        )
    if not scores:
        print("no case was held out, so nothing was validated; set data.hold_out or give a case the split val")


def _print_places(folder: Path) -> None:
    print(f"run directory: {shown_path(folder)}")
    print(f"bundle:        {shown_path(folder / 'bundle')}")


def _mean_dice(scores: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean Dice without a prompt, of a model that needs them with boxes; NaN without scores."""
    unprompted = [score for score in scores if score["prompt"] == "none"]
    return fmean(score["dice"] for score in unprompted or scores) if scores else math.nan


def prompt_words(prompt: str) -> str:
    """Return how a kind of prompt is called in a sentence."""
    return "no prompt" if prompt == "none" else prompt


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"
