"""`segfocal train`: from a config to a plan, and from a plan to a run directory."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.cli.compatibility import check_together, check_volumes, takes_objects_apart
from segfocal.cli.data_options import cases_of, channels_of, grid_of, intensity_of, neighbours_of, sides
from segfocal.cli.resume import check_place, has_finished
from segfocal.cli.weights import first_weights
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.data.sampling.dataset import Sampling
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
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from segfocal.compare.runs import REFUSED_FILE, note_refusal

    folder = Path(HydraConfig.get().runtime.output_dir)
    if config.train.dry_run is True:
        _dry_run(config)
        return math.nan
    asked_for = HydraConfig.get().overrides.task
    (folder / REFUSED_FILE).unlink(missing_ok=True)  # of an earlier try
    try:
        choices = HydraConfig.get().runtime.choices
        plan = build_plan(config)
        if plan.weights and _is_main_process():
            print(plan.weights)
        facts = train_in(config, plan, folder, overrides=asked_for, choices=choices)
    except Exception as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN and not _noted(folder):
            note_refusal(folder, asked_for, str(error))  # the table of the sweep says so
        raise
    if not _is_main_process():
        return math.nan
    _print_scores(facts.get("scores", []))
    if not facts.get("scores"):
        print("no case was held out, so nothing was validated; set data.hold_out or give a case the split val")
    print(f"run directory: {shown_path(folder)}")
    print(f"bundle:        {shown_path(folder / 'bundle')}")
    scores = facts.get("scores", [])
    unprompted = [score for score in scores if score["prompt"] == "none"]
    return fmean(score["dice"] for score in unprompted or scores) if scores else math.nan


def _print_scores(scores: Sequence[Mapping[str, Any]]) -> None:
    """Print Dice by case and structure, and what many more there are as their mean."""
    for score in scores[:_MOST_LINES]:
        print(f"{score['case']} {score['structure']} Dice, {asked(score['prompt'])}: {score['dice']:.3f}")
    if len(scores) > _MOST_LINES:
        print(
            f"and {len(scores) - _MOST_LINES} more in summary.json; mean of all {fmean(s['dice'] for s in scores):.3f}"
        )


def _noted(folder: Path) -> bool:
    """Return whether a run's folder says why it failed."""
    from segfocal.compare.runs import RUN_FILE
    from segfocal.files import read_json

    return (folder / RUN_FILE).is_file() and read_json(folder / RUN_FILE).get("error") is not None


def train_in(
    config: DictConfig,
    plan: Plan,
    folder: Path,
    *,
    overrides: Sequence[str] = (),
    choices: Mapping[str, str | None] | None = None,
) -> dict[str, Any]:
    """Train by a plan and the config it was built from, in `folder`; return the summary.

    overrides: what the command line asked, choices: the file chosen of each config group; for comparisons.
    With resume=auto a run that has finished is not repeated.

    Raises:
        UserError: a folder that holds a run already, a resume with other options, and whatever training raises.
    """
    from segfocal.compare.runs import note_failure, note_start
    from segfocal.engine.checkpoint import candidates
    from segfocal.engine.loop import train as train_plan
    from segfocal.files import read_json, write_json

    automatic, begun = plan.resume == Path("auto"), False
    if automatic and has_finished(config, folder, overrides):
        if _is_main_process():
            print(f"finished before: {shown_path(folder)}")
        return read_json(folder / "summary.json")
    if automatic:
        plan = replace(plan, resume=folder if candidates(folder) else None)
    if _is_main_process():  # it checks for all
        check_place(config, plan, folder, automatic=automatic, overrides=overrides)

    def note() -> None:
        nonlocal begun
        begun = True
        note_start(folder, overrides, choices)
        if plan.weights:
            write_json(folder / "weights.json", plan.weights.row())

    try:
        return train_plan(plan, folder, config=OmegaConf.to_yaml(config, resolve=True), begun=note)
    except Exception as error:
        if begun:
            note_failure(folder, overrides, str(error) or type(error).__name__)
        raise


def _dry_run(config: DictConfig) -> None:
    """Rehearse a run in a folder that is forgotten, and print what the whole would take."""
    from segfocal.engine.loop import train as train_plan

    with TemporaryDirectory() as folder:
        facts = train_plan(replace(build_plan(config), resume=None), Path(folder))
    if not _is_main_process():
        return
    print(f"a step: {facts['seconds_a_step']} s; a validation: {facts['seconds_a_validation']} s")
    total = f"about {facts['hours']} hours and {facts['memory_gib']} GiB on {facts['device']}"
    print(f"{config.train.steps} steps and their validations: {total}")


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def build_plan(config: DictConfig) -> Plan:
    """Build every object of a run from a config; a value out of range is reported before anything is read."""
    from hydra.errors import InstantiationException

    try:
        return _plan(config)
    except (ValueError, TypeError, InstantiationException) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if not isinstance(cause, ValueError | TypeError):
            raise
        raise UserError(expected="a config that fits together", found=str(cause), do="change that option") from error


def asked(prompt: str) -> str:
    """Return how a kind of prompt is called in a sentence."""
    return "no prompt" if prompt == "none" else prompt


def _plan(config: DictConfig) -> Plan:
    from hydra.utils import instantiate

    from segfocal.data.mask_files import with_target
    from segfocal.data.store.prepared_case import Preparation
    from segfocal.engine.plan import Plan
    from segfocal.engine.settings import Settings

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    data, settings = plain["data"], Settings(**plain["train"])
    if not isinstance(plain["seed"], int) or plain["seed"] < 0:
        raise ValueError(f"expected seed to be a whole number ≥ 0; got {plain['seed']!r}")
    cases, structures = cases_of(plain)
    window = sides(data["window"], "data.window", int)
    if not data["margin"] >= 1:
        raise ValueError(f"expected data.margin ≥ 1; got {data['margin']}")
    channels = channels_of(cases) * (2 * neighbours_of(data) + 1)
    model, model_config = build_model(plain, classes=len(structures), channels=channels, window=window)
    task = instantiate(plain["task"], model=model, criterion=instantiate(plain["loss"]))
    augment = instantiate(plain["augment"], _convert_="all")  # plain lists, for transforms of other libraries
    grid, apart = grid_of(data, cases), takes_objects_apart(task, structures)
    check_together(task, augment, structures, apart=apart)
    check_volumes(task, window, grid)
    weights = first_weights(plain, model)
    cases, structures = with_target(cases, structures, by_object=apart)
    return Plan(
        task=task,
        model_config=model_config,
        weights=weights,
        cases=cases,
        where=Path(data["root"]),
        cache=Path(plain["cache"]),
        preparation=Preparation(
            grid=grid,
            intensity=intensity_of(plain["intensity"], cases),
            structures=structures,
            by_object=apart,
            crop=data.get("crop", "none"),
        ),
        sampling=_sampling(data, window, apart=apart),
        augment=augment,
        window=window,
        settings=settings,
        seed=plain["seed"],
        resume=Path(plain["resume"]) if plain["resume"] else None,
    )


def _sampling(data: Mapping[str, Any], window: tuple[int, ...], *, apart: bool) -> Sampling:
    from segfocal.data.sampling.dataset import Sampling

    return Sampling(
        foreground=data["foreground"],
        crop=(*window[:-2], *(round(side * data["margin"]) for side in window[-2:])),
        objects=data.get("objects", 1) if apart else None,
        neighbours=data.get("neighbours", 0),
        **{key: data[key] for key in ("rare", "replay", "replay_every") if key in data},
    )


def build_model(
    plain: dict[str, Any], *, classes: int, channels: int, window: tuple[int, ...]
) -> tuple[Any, dict[str, Any]]:
    """Build the model, its first weights a function of the seed, and the config that rebuilds it.

    A config with `classes` gets as many as there are targets, one with `channels` as many as images have, one with
    `dims` as many as the window has. Others are of slices, of grey images, and RGB ones if they have a `channel_order`.
    """
    import torch

    from segfocal import models

    config = {key: value for key, value in plain["model"].items() if key != "weights"}
    known = {"classes": classes, "channels": channels, "dims": len(window)}
    config |= {key: value for key, value in known.items() if key in config}
    if len(window) == 3 and "dims" not in config:
        raise ValueError(
            f"expected data.window of two numbers for this model; got {list(window)}: use model=unet task=semantic"
        )
    possible = (1, 3) if "channel_order" in config else (1,)
    if "channels" not in config and channels not in possible:
        raise ValueError(
            f"expected {' or '.join(map(str, possible))} channel{'s' * (possible[-1] > 1)} for this model; got "
            f"{channels} (those of a scan, of a slice and data.neighbours on each side): choose model=sam_tiny or unet"
        )
    torch.manual_seed(plain["seed"])
    model = models.build(config)
    size, multiple = getattr(model, "image_size", None), getattr(model, "size_multiple", 1)
    if size is not None and window != (size, size):
        raise ValueError(f"expected a window of the model's image_size {size}×{size}; got data.window={list(window)}")
    if any(side % multiple for side in window):
        raise ValueError(f"expected data.window in multiples of {multiple} for this model; got {list(window)}")
    return model, config
