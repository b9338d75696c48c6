"""`segfocal train`: from a config to a plan, and from a plan to a run directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.cli.source import cases_of, grid_of, pair
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.engine.plan import Plan

# When a run is resumed these may differ, besides those that teach it nothing; train.steps bends its schedules.
_MAY_CHANGE = tuple(f"train.{key}" for key in ("steps", "validate_every", "patience", "keep", "tf32", "compile"))


_OTHER_PLACE = "give that run's options again, or another hydra.run.dir (of a sweep, hydra.sweep.dir)"


def main() -> int:
    """Run the command; return its exit code."""
    from segfocal.cli.compare import AfterMultirun

    AfterMultirun.failed = 0
    return run("train", train) or min(AfterMultirun.failed, 1)


def train(config: DictConfig) -> None:
    """Train by a config in Hydra's run directory and print where things are."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from segfocal.experiments.runs import RUN_FILE, note_failure

    folder = Path(HydraConfig.get().runtime.output_dir)
    if config.train.dry_run is True:
        _dry_run(config)
        return
    asked_for = HydraConfig.get().overrides.task
    try:
        facts = train_in(config, build_plan(config), folder, overrides=asked_for)
    except Exception as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN and not (folder / RUN_FILE).is_file():
            note_failure(folder, asked_for, str(error))  # refused before it began: the table of the sweep says so
        raise
    if not _is_main_process():
        return
    for score in facts.get("scores", []):
        print(f"{score['case']} {score['structure']} Dice, {asked(score['prompt'])}: {score['dice']:.3f}")
    if not facts.get("scores"):
        print("no case was held out, so nothing was validated; set data.hold_out or give a case the split val")
    print(f"run directory: {shown_path(folder)}")
    print(f"bundle:        {shown_path(folder / 'bundle')}")


def train_in(config: DictConfig, plan: Plan, folder: Path, *, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Train by a plan and the config it was built from, in `folder`; return the summary.

    overrides: what the command line asked, for comparisons. With resume=auto a run that has finished is not repeated.

    Raises:
        UserError: a folder that holds a run already, a resume with other options, and whatever training raises.
    """
    from segfocal.engine.checkpoint import candidates
    from segfocal.engine.loop import train as train_plan
    from segfocal.experiments.runs import note_failure, note_start
    from segfocal.io.files import read_json

    automatic, begun = plan.resume == Path("auto"), False
    if automatic and _has_finished(config, folder):
        if _is_main_process():
            print(f"finished before: {shown_path(folder)}")
        return read_json(folder / "summary.json")
    if automatic:
        plan = replace(plan, resume=folder if candidates(folder) else None)
    if _is_main_process():  # it checks for all
        _check_place(config, plan, folder, automatic=automatic)

    def note() -> None:
        nonlocal begun
        begun = True
        note_start(folder, overrides)

    try:
        return train_plan(plan, folder, config=OmegaConf.to_yaml(config, resolve=True), begun=note)
    except Exception as error:
        if begun:
            note_failure(folder, overrides, str(error) or type(error).__name__)
        raise


def _check_place(config: DictConfig, plan: Plan, folder: Path, *, automatic: bool) -> None:
    """Raise UserError where a run would go on with other options, or replace another run unasked."""
    from segfocal.engine.checkpoint import find
    from segfocal.io.files import check_new

    origin = find(plan.resume).resolve().parents[1] if plan.resume else None
    if origin or automatic:
        _check_same_run(config, (origin or folder) / "config.yaml")
    if origin != folder.resolve():
        check_new(folder / "metrics.jsonl", overwrite=config.overwrite or automatic)


def _has_finished(config: DictConfig, folder: Path) -> bool:
    """Return whether `folder` holds the result of a run with these options."""
    if not (folder / "summary.json").is_file() or not (folder / "config.yaml").is_file():
        return False
    before, now = OmegaConf.load(folder / "config.yaml"), OmegaConf.create(OmegaConf.to_yaml(config, resolve=True))
    return not _changes(before, now)


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
    from segfocal.data.loader import Sampling
    from segfocal.data.masks import OBJECTS, choose_masks
    from segfocal.data.prepared import Preparation
    from segfocal.engine.plan import Plan
    from segfocal.engine.settings import Settings
    from segfocal.tasks import Promptable

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    data, settings = plain["data"], Settings(**plain["train"])
    if not isinstance(plain["seed"], int) or plain["seed"] < 0:
        raise ValueError(f"expected seed to be a whole number ≥ 0; got {plain['seed']!r}")
    cases, structures = cases_of(plain)
    window = pair(data["window"], "data.window", int)
    if not data["margin"] >= 1:
        raise ValueError(f"expected data.margin ≥ 1; got {data['margin']}")
    model, model_config = _model(plain, classes=len(structures), window=window)
    task = instantiate(plain["task"], model=model, criterion=instantiate(plain["loss"]))
    apart = structures[0].name == OBJECTS and isinstance(task, Promptable)
    if apart and task.none > 0:
        raise ValueError(f"expected task.none=0 for target={OBJECTS}, where only a prompt tells which; got {task.none}")
    cases, structures = choose_masks(cases, structures, apart=apart)
    return Plan(
        task=task,
        model_config=model_config,
        cases=cases,
        where=Path(data["root"]),
        cache=Path(plain["cache"]),
        preparation=Preparation(
            grid=grid_of(data, cases),
            intensity=intensity.build(plain["intensity"]),
            structures=structures,
            apart=apart,
        ),
        sampling=Sampling(
            foreground=data["foreground"],
            crop=(round(window[0] * data["margin"]), round(window[1] * data["margin"])),
            objects=data.get("objects", 1) if apart else None,
        ),
        augment=instantiate(plain["augment"]),
        window=window,
        settings=settings,
        seed=plain["seed"],
        resume=Path(plain["resume"]) if plain["resume"] else None,
    )


def _model(plain: dict[str, Any], *, classes: int, window: tuple[int, int]) -> tuple[Any, dict[str, Any]]:
    """Build the model, its first weights a function of the seed, and the config that rebuilds it.

    A config with `classes` gets as many as there are targets.
    """
    import torch

    from segfocal import models

    config = plain["model"] | ({"classes": classes} if "classes" in plain["model"] else {})
    torch.manual_seed(plain["seed"])
    model = models.build(config)
    if getattr(model, "classes", classes) != classes:
        raise ValueError(
            f"expected one target for {config['_target_']}; got target={plain['target']}: "
            "use task=semantic model=unet, or one run each"
        )
    size, multiple = getattr(model, "image_size", None), getattr(model, "size_multiple", 1)
    if size is not None and window != (size, size):
        raise ValueError(f"expected a window of the model's image_size {size}×{size}; got data.window={list(window)}")
    if any(side % multiple for side in window):
        raise ValueError(f"expected data.window in multiples of {multiple} for this model; got {list(window)}")
    return model, config


def _check_same_run(config: DictConfig, saved: Path) -> None:
    """Raise UserError when a resumed run would go on with options that change what it learns."""
    if not saved.is_file():
        return
    changes = _changes(OmegaConf.load(saved), OmegaConf.create(OmegaConf.to_yaml(config, resolve=True)))
    changed = {key: values for key, values in changes.items() if key not in _MAY_CHANGE}
    if changed:
        shown = ", ".join(f"{key}={now} (was {before})" for key, (before, now) in list(changed.items())[:5])
        raise UserError(
            expected="the options of the run to resume",
            found=shown,
            where=saved,
            do=_OTHER_PLACE,
        )


def _changes(before: Any, now: Any) -> dict[str, tuple[Any, Any]]:
    """Return the options that differ and change what a run learns or leaves: before and now."""
    from segfocal.experiments.runs import NEUTRAL

    old, new = _flat(before), _flat(now)
    different = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    telling = [key for key in different if key not in NEUTRAL and not key.startswith("sweep.")]
    return {key: (old.get(key), new.get(key)) for key in telling}


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return a config's leaves by dotted path."""
    plain = OmegaConf.to_container(config) if OmegaConf.is_config(config) else config
    if not isinstance(plain, dict):
        return {prefix: plain}
    leaves: dict[str, Any] = {}
    for key, value in plain.items():
        leaves |= _flat(value, f"{prefix}.{key!s}" if prefix else str(key))
    return leaves
