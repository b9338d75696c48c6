"""A run on its device: model, optimiser, averaged weights, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from segfocal.data.sampling.hard_examples import LastLosses
from segfocal.engine import checkpoint
from segfocal.engine.budget import Stopwatch, used_share
from segfocal.engine.plan import Plan
from segfocal.inference import bundle as bundles
from segfocal.inference.postprocess import PostprocessRules
from segfocal.intensity_statistics import Statistics


@dataclass
class RunState:
    """How far a run has come; part of every checkpoint.

    Args:
        step: optimiser steps made, skipped ones included.
        best_dice: best mean Dice of a validation so far, −1 before the first.
        best_step: the step of that validation, 0 before the first.
        stale: validations since then.
        skipped: steps that the fp16 scaler left out.
        plateaus: how often `train.plateau` validations in a row were stale.
        seconds: of training so far, validations included.
        weights: the report of those it began with, for its bundle, also after a resume; None for random numbers.
    """

    step: int = 0
    best_dice: float = -1.0
    best_step: int = 0
    stale: int = 0
    skipped: int = 0
    plateaus: int = 0
    seconds: float = 0.0
    weights: dict[str, Any] | None = None

    def note_dice(self, dice: float) -> bool:
        """Note the mean Dice of a validation; return whether it is the best so far."""
        better = dice > self.best_dice
        self.stale = 0 if better else self.stale + 1
        if better:
            self.best_dice, self.best_step = dice, self.step
        return better

    def verdict(self) -> dict[str, Any]:
        """Return what validations have changed, which the main process alone makes."""
        return {"best_dice": self.best_dice, "best_step": self.best_step, "stale": self.stale}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return dict(self.__dict__)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint held."""
        self.__dict__.update(state)


@dataclass(kw_only=True, eq=False)
class Run:
    """What the loop works with, on its device.

    Args:
        plan: what was asked for.
        folder: the run directory, the same in every process.
        accelerator: this process's place among those that train together.
        task: the plan's task, wrapped for several processes.
        optimizer: wrapped likewise; knows whether its last step was skipped.
        schedule: of the learning rate.
        average: the averaged weights; None with `train.ema=0`.
        state: how far the run has come.
        losses: the last loss of each slice, with data.replay only.
        channels_last: whether images and weights are in channels-last memory order.
        values: what the values of the training scans were, for its bundle; None where that is not known.
        rules: of post-processing, by structure name, for its bundle.
        stopwatch: counts the seconds of training; made here.
    """

    plan: Plan
    folder: Path
    accelerator: Accelerator
    task: torch.nn.Module
    optimizer: Any
    schedule: LambdaLR
    average: AveragedModel | None
    state: RunState = field(default_factory=RunState)
    losses: LastLosses | None = None
    channels_last: bool = False
    values: Statistics | None = None
    rules: Mapping[str, PostprocessRules] = field(default_factory=dict)
    stopwatch: Stopwatch = field(init=False)

    def __post_init__(self) -> None:
        self.stopwatch = Stopwatch(self.accelerator, before=0.0)

    @property
    def lr(self) -> float:
        """The learning rate of the next step, of parameters without a scale of their own."""
        return float(self.schedule.get_last_lr()[0])

    @property
    def used(self) -> float:
        """Share of the steps, or with `train.minutes` of the minutes, that is used, in [0,1]."""
        return used_share(self.plan.settings, step=self.state.step, seconds=self.state.seconds)

    @property
    def is_complete(self) -> bool:
        """Whether all steps are made, or all minutes used."""
        return self.used >= 1

    @property
    def validation_is_due(self) -> bool:
        """Whether the step just made is followed by a validation."""
        every = self.plan.settings.validate_every
        return self.is_complete or bool(every and self.state.step % every == 0)

    @property
    def out_of_patience(self) -> bool:
        """Whether `train.patience` validations in a row were not better than the best."""
        patience = self.plan.settings.patience
        return patience is not None and self.state.stale >= patience

    def after_step(self) -> None:
        """Count an optimiser step; unless the fp16 scaler skipped it, move the learning rate and the average on."""
        self.state.step += 1
        self.state.seconds = self.stopwatch.seconds()
        if self.optimizer.step_was_skipped:  # the weights have not moved
            self.state.skipped += 1
            return
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.accelerator.unwrap_model(self.task).model)

    def bundle(self) -> bundles.Bundle:
        """Return the model as it would be used now: averaged weights if there are any, in evaluation mode."""
        plan = self.plan
        model = self.average.module if self.average else self.accelerator.unwrap_model(self.task).model
        facts = {"steps": self.state.step, "seed": plan.seed, "cases": [c.name for c in plan.cases.of("train")]}
        if self.state.weights:
            facts["weights"] = self.state.weights
        return bundles.Bundle(
            model=model.eval(),
            model_config=dict(plan.model_config),
            grid=plan.preparation.grid,
            window=plan.window,
            intensity=plan.preparation.intensity,
            structures=plan.preparation.structures,
            training=facts,
            link=plan.task.criterion.link,
            needs_prompts=plan.task.needs_prompts,
            channels=len(plan.cases.cases[0].images),
            neighbours=plan.sampling.neighbours,
            training_values=self.values,
            postprocess=dict(self.rules),
        )


def save(run: Run) -> bool:
    """Write a checkpoint of a run; return whether that succeeded."""
    folder, keep = run.folder / "checkpoints", run.plan.settings.keep_checkpoints
    return checkpoint.save(run.accelerator, folder, step=run.state.step, keep=keep)
