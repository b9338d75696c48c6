"""Everything a training run is made of, as objects; the command line builds one from a config, a script may too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.augment import Augmentation
from segfocal.data.case import CaseList
from segfocal.data.sampling.dataset import Sampling
from segfocal.data.store.prepared_case import Preparation
from segfocal.engine.settings import TrainingSettings
from segfocal.errors import UserError
from segfocal.models import WeightsReport
from segfocal.tasks.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A training run: every option checked and made an object; nothing further down asks the config.

    Args:
        task: an nn.Module by the protocol of `segfocal.tasks.task`.
        model_config: what rebuilds its model, for the bundle.
        cases: the scans, each with its part: train, val or neither.
        where: the data source, for messages.
        cache: folder of the prepared slices, shared by all runs.
        preparation: how scans become slices.
        sampling: how slices become samples.
        augment: changes whole batches on the device.
        window: pixels (h, w), or voxels (d, h, w), the model sees.
        settings: how long and how to train.
        seed: ≥ 0; all randomness is a function of it.
        resume: a run directory or checkpoint to go on from; None begins anew.
        weights: what the model begins with; None for random numbers.
        config: the options this was built from, as YAML, kept beside the results; "" of a plan made by hand.

    Raises:
        UserError: a choice that looks at held-out scans where there are none.
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
    settings: TrainingSettings
    seed: int
    resume: Path | None = None
    weights: WeightsReport | None = None
    config: str = ""

    def __post_init__(self) -> None:
        settings = self.settings
        looks = settings.keep == "best" or settings.patience is not None or settings.schedule == "plateau"
        looks = looks or settings.postprocess == "auto"
        if looks and not self.cases.of("val"):
            raise UserError(
                expected="validation cases for train.keep=best, patience, postprocess=auto and schedule=plateau",
                found="none",
                where=self.where,
                do="give some cases the split val, set data.hold_out, or leave these options out",
            )
