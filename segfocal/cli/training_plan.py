"""The plan of a training run: every option of a config resolved, checked together, and made an object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from segfocal.cli.app import fitting_together
from segfocal.cli.class_weights import with_listed_weights
from segfocal.cli.compatibility import (
    check_components,
    check_together,
    check_validation,
    check_volumes,
    trains_by_object,
)
from segfocal.cli.data_options import (
    as_list,
    cases_of,
    channels_of,
    check_batch_fits,
    grid_of,
    intensity_of,
    neighbours_of,
    sides,
)
from segfocal.cli.model_options import build_model
from segfocal.cli.resume import AUTO
from segfocal.cli.settling import imported
from segfocal.cli.targets import build
from segfocal.cli.weights import first_weights

if TYPE_CHECKING:
    from segfocal.data.sampling.dataset import Sampling
    from segfocal.engine.plan import Plan


def build_plan(config: DictConfig) -> Plan:
    """Build every object of a run from a config; a value out of range is reported before anything is read."""
    with fitting_together():
        return _plan(config)


def _plan(config: DictConfig) -> Plan:
    from segfocal.data.mask_files import with_target
    from segfocal.data.store.prepared_case import Preparation
    from segfocal.engine.plan import Plan
    from segfocal.engine.settings import TrainingSettings

    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    data, settings = plain["data"], TrainingSettings(**plain["train"])
    cases, structures = cases_of(plain)
    window = sides(data["window"], "data.window", int)
    if not data["margin"] >= 1:
        raise ValueError(f"expected data.margin ≥ 1; got {data['margin']}")
    channels = channels_of(cases) * (2 * neighbours_of(data) + 1)
    check_batch_fits(math.ceil(settings.batch_size / settings.accumulate), channels, window)
    model, model_config = build_model(plain, classes=len(structures), channels=channels, window=window)
    own = imported(plain)
    criterion = build(with_listed_weights(plain["loss"], structures, imports=own), imports=own)
    task = build(plain["task"], imports=own, model=model, criterion=criterion)
    augment = build(plain["augment"], imports=own)
    grid, by_object = grid_of(data, cases), trains_by_object(task, structures)
    check_together(task, augment, structures, by_object=by_object)
    check_components(task, augment)
    check_validation(model, settings)
    check_volumes(task, window, grid)
    weights = first_weights(plain, model)
    cases, structures = with_target(cases, structures, by_object=by_object)
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
            by_object=by_object,
            crop=data.get("crop", "none"),
            components=criterion.uses_components or bool(data.get("lesions")),
        ),
        sampling=_sampling(data, window, by_object=by_object, cells=criterion.uses_components),
        augment=augment,
        window=window,
        settings=settings,
        seed=plain["seed"],
        resume=Path(plain["resume"]) if plain["resume"] and plain["resume"] != AUTO else None,
        config=OmegaConf.to_yaml(OmegaConf.masked_copy(config, _told(config)), resolve=True),
    )


def _told(config: DictConfig) -> list[str]:
    """Return the keys of a config that a run writes down: where it is made changes nothing of it."""
    return [str(key) for key in config if key != "cluster"]


def _sampling(data: Mapping[str, Any], window: tuple[int, ...], *, by_object: bool, cells: bool) -> Sampling:
    from segfocal.data.sampling.dataset import Sampling

    return Sampling(
        foreground=data["foreground"],
        crop=(*window[:-2], *(round(side * data["margin"]) for side in window[-2:])),
        objects=data.get("objects", 1) if by_object else None,
        neighbours=data.get("neighbours", 0),
        lesion_edges=tuple(as_list(data.get("lesion_edges") or [])),
        cells=cells,
        **{key: data[key] for key in ("rare", "replay", "replay_every", "lesions") if key in data},
    )
