"""`segfocal train`: from a config to a plan, and from a plan to a run directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import run, shown_path
from segfocal.errors import UserError

if TYPE_CHECKING:
    from segfocal.engine.plan import Plan

Number = TypeVar("Number", int, float)


def main() -> int:
    """Run the command; return its exit code."""
    return run("train", train)


def train(config: DictConfig) -> None:
    """Train by a config in Hydra's run directory and print where things are."""
    from hydra.core.hydra_config import HydraConfig

    folder = Path(HydraConfig.get().runtime.output_dir)
    facts = train_in(config, folder)
    for score in facts.get("scores", []):
        print(f"{score['case']} {score['structure']} Dice, {_asked(score['prompt'])}: {score['dice']:.3f}")
    print(f"run directory: {shown_path(folder)}")
    print(f"bundle:        {shown_path(folder / 'bundle')}")


def train_in(config: DictConfig, folder: Path) -> dict[str, Any]:
    """Train by a config in `folder` and return the summary."""
    from segfocal.engine.loop import train as train_plan
    from segfocal.io.files import write_text

    plan = build_plan(config)
    write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    return train_plan(plan, folder)


def build_plan(config: DictConfig) -> Plan:
    """Build every object of a run from a config; a value out of range is reported before anything is read."""
    try:
        return _plan(config)
    except ValueError as error:
        raise UserError(expected="a config that fits together", found=str(error), do="change that option") from error


def _plan(config: DictConfig) -> Plan:
    from hydra.utils import instantiate

    from segfocal import intensity
    from segfocal.augment import Augment
    from segfocal.data.cases import hold_out, read_cases
    from segfocal.data.loader import Sampling
    from segfocal.data.prepared import Preparation
    from segfocal.data.structures import choose_structures
    from segfocal.engine.plan import Plan
    from segfocal.engine.settings import Settings
    from segfocal.resample import ModelGrid

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    data, seed, settings = plain["data"], plain["seed"], Settings(**plain["train"])
    cases = hold_out(read_cases(data["root"], label_names=data["label_names"]), share=data["hold_out"], seed=seed)
    structures = choose_structures(plain["target"], cases.label_values)
    spacing = None if data["spacing_mm"] is None else _pair(data["spacing_mm"], "data.spacing_mm", float)
    window = _pair(data["window"], "data.window", int)
    if not data["margin"] >= 1:
        raise ValueError(f"expected data.margin ≥ 1; got {data['margin']}")
    model, model_config = _model(plain, classes=len(structures), window=window)
    criterion = instantiate(plain["loss"])
    return Plan(
        task=instantiate(plain["task"], model=model, criterion=criterion),
        model_config=model_config,
        terms=tuple(criterion.weights),
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
        augment=Augment(**{key: value for key, value in plain["augment"].items() if key != "_target_"}),
        window=window,
        settings=settings,
        seed=seed,
        resume=Path(plain["resume"]) if plain["resume"] else None,
    )


def _model(plain: dict[str, Any], *, classes: int, window: tuple[int, int]) -> tuple[Any, dict[str, Any]]:
    """Build the model, its first weights a function of the seed, and the config that rebuilds it.

    A config with `classes` gets as many as there are targets.
    """
    import torch
    from hydra.utils import instantiate

    config = plain["model"] | ({"classes": classes} if "classes" in plain["model"] else {})
    torch.manual_seed(plain["seed"])
    model = instantiate(config)
    if getattr(model, "classes", classes) != classes:
        raise ValueError(
            f"expected one target for {config['_target_']}; got target={plain['target']}: "
            "use task=semantic model=unet, or one run each"
        )
    size = getattr(model, "image_size", None)
    if size is not None and window != (size, size):
        raise ValueError(f"expected a window of the model's image_size {size}×{size}; got data.window={list(window)}")
    return model, config


def _pair(value: Any, name: str, kind: Callable[[Any], Number]) -> tuple[Number, Number]:
    """Return a setting for (h, w); one number counts for both."""
    values = value if isinstance(value, list) else [value, value]
    if len(values) != 2 or not all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in values):
        raise ValueError(f"expected {name} to be two numbers > 0, [h, w]; got {value}")
    return kind(values[0]), kind(values[1])


def _asked(prompt: str) -> str:
    return "no prompt" if prompt == "none" else prompt
