"""Everything a training run is made of, as objects; the command line builds one from a config, a script may too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.augment import Augmentation
from segfocal.data.cases import CaseList
from segfocal.data.sampling.dataset import Sampling
from segfocal.data.store.prepared_case import Preparation
from segfocal.engine.settings import Settings
from segfocal.models import WeightsReport
from segfocal.tasks.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A training run, ready to start.

    task: an nn.Module by the protocol of `segfocal.tasks.task`. model_config: what rebuilds its model, for the
    bundle. window: pixels (h, w), or voxels (d, h, w), the model sees. where: the data source, for messages. resume: a
    run directory or checkpoint to go on from. weights: what the model begins with, None for random numbers.
    """

    task: Task
    model_config: Mapping[str, Any]
    cases: CaseList
    where: Path
    cache: Path
    preparation: Preparation
    sampling: Sampling
    augment: Augmentation
    window: tuple[int, ...]
    settings: Settings
    seed: int
    resume: Path | None = None
    weights: WeightsReport | None = None
