"""`segfocal train`: from a config to a plan, and from a plan to a run directory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.cli.resume import check_place, has_finished
from segfocal.cli.weights import first_weights
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.engine.plan import Plan

Number = TypeVar("Number", int, float)


def main() -> int:
    """Run the command; return its exit code."""
    from segfocal.cli.compare import AfterMultirun

    AfterMultirun.failed = 0
    return run("train", train) or min(AfterMultirun.failed, 1)


def train(config: DictConfig) -> float:
    """Train by a config in Hydra's run directory, print where things are, return the mean Dice for a sweeper.

    It is NaN without held-out cases, and in all but the main process.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from segfocal.experiments.runs import REFUSED_FILE, note_refusal

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
    for score in facts.get("scores", []):
        print(f"{score['case']} {score['structure']} Dice, {asked(score['prompt'])}: {score['dice']:.3f}")
    if not facts.get("scores"):
        print("no case was held out, so nothing was validated; set data.hold_out or give a case the split val")
    print(f"run directory: {shown_path(folder)}")
    print(f"bundle:        {shown_path(folder / 'bundle')}")
    plain = [score["dice"] for score in facts.get("scores", []) if score["prompt"] == "none"]
    return fmean(plain) if plain else math.nan


def _noted(folder: Path) -> bool:
    """Return whether a run's folder says why it failed."""
    from segfocal.experiments.runs import RUN_FILE
    from segfocal.io.files import read_json

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
    from segfocal.engine.checkpoint import candidates
    from segfocal.engine.loop import train as train_plan
    from segfocal.experiments.runs import note_failure, note_start
    from segfocal.io.files import read_json, write_json

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

    from segfocal import intensity
    from segfocal.data.cases import hold_out, read_cases
    from segfocal.data.loader import Sampling
    from segfocal.data.prepared import Preparation
    from segfocal.data.structures import choose_structures
    from segfocal.engine.plan import Plan
    from segfocal.engine.settings import Settings
    from segfocal.resample import ModelGrid

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    data, settings = plain["data"], Settings(**plain["train"])
    if not isinstance(plain["seed"], int) or plain["seed"] < 0:
        raise ValueError(f"expected seed to be a whole number ≥ 0; got {plain['seed']!r}")
    listed = read_cases(data["root"], label_names=data["label_names"])
    cases = hold_out(listed, share=data["hold_out"], seed=data["split_seed"])
    structures = choose_structures(plain["target"], cases.label_values)
    spacing = None if data["spacing_mm"] is None else pair(data["spacing_mm"], "data.spacing_mm", float)
    window = pair(data["window"], "data.window", int)
    if not data["margin"] >= 1:
        raise ValueError(f"expected data.margin ≥ 1; got {data['margin']}")
    model, model_config = build_model(plain, classes=len(structures), window=window)
    task = instantiate(plain["task"], model=model, criterion=instantiate(plain["loss"]))
    task.check_structures(len(structures))
    weights = first_weights(plain, model)
    return Plan(
        task=task,
        model_config=model_config,
        weights=weights,
        cases=cases,
        where=Path(data["root"]),
        cache=Path(plain["cache"]),
        preparation=Preparation(
            grid=ModelGrid(frame=data["frame"], spacing_mm=spacing),
            intensity=intensity.build(plain["intensity"]),
            structures=structures,
        ),
        sampling=Sampling(
            foreground=data["foreground"],
            crop=(round(window[0] * data["margin"]), round(window[1] * data["margin"])),
        ),
        augment=instantiate(plain["augment"]),
        window=window,
        settings=settings,
        seed=plain["seed"],
        resume=Path(plain["resume"]) if plain["resume"] else None,
    )


def build_model(plain: dict[str, Any], *, classes: int, window: tuple[int, int]) -> tuple[Any, dict[str, Any]]:
    """Build the model, its first weights a function of the seed, and the config that rebuilds it.

    A config with `classes` gets as many as there are targets.
    """
    import torch

    from segfocal import models

    config = {key: value for key, value in plain["model"].items() if key != "weights"}
    config |= {"classes": classes} if "classes" in config else {}
    torch.manual_seed(plain["seed"])
    model = models.build(config)
    size, multiple = getattr(model, "image_size", None), getattr(model, "size_multiple", 1)
    if size is not None and window != (size, size):
        raise ValueError(f"expected a window of the model's image_size {size}×{size}; got data.window={list(window)}")
    if any(side % multiple for side in window):
        raise ValueError(f"expected data.window in multiples of {multiple} for this model; got {list(window)}")
    return model, config


def pair(value: Any, name: str, kind: Callable[[Any], Number]) -> tuple[Number, Number]:
    """Return a setting for (h, w); one number counts for both."""
    values = value if isinstance(value, list) else [value, value]
    if len(values) != 2 or not all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in values):
        raise ValueError(f"expected {name} to be two numbers > 0, [h, w]; got {value}")
    return kind(values[0]), kind(values[1])
