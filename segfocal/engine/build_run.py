"""Builds a run from its plan: processes that train together, switches of the hardware, and what the loop needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn

from segfocal.data.sampling.hard_examples import LastLosses
from segfocal.engine import checkpoint
from segfocal.engine.averaged_weights import make_average
from segfocal.engine.lr_schedule import make_lr_schedule
from segfocal.engine.optimizer import GIVEN_WEIGHTS_LR, lay_out_moments, make_optimizer
from segfocal.engine.plan import Plan
from segfocal.engine.run import Run, RunState
from segfocal.engine.settings import TrainingSettings
from segfocal.errors import UserError
from segfocal.models import PromptableModel, SegmentationModel
from segfocal.models.prior import prior_logits
from segfocal.tasks.task import Task


def build_run(
    plan: Plan, folder: Path, accelerator: Accelerator, *, rates: Sequence[float], losses: LastLosses | None = None
) -> Run:
    """Build what the loop needs, on its device, and go back to a checkpoint if asked.

    Args:
        plan: what to train.
        folder: the run directory.
        accelerator: from `connect`.
        rates: share of training pixels of the background and of each structure, for weights and a prior made from them.
        losses: by slice, where samples are drawn by them.

    Raises:
        UserError: a checkpoint that does not fit.
    """
    settings = plan.settings
    set_seed(plan.seed)
    _use_hardware(settings)
    _use_rates(plan.task, rates)
    module = cast(nn.Module, plan.task)
    optimizer = _optimizer(module, plan, accelerator.device)
    state = RunState(weights=plan.weights.row() if plan.weights else None)
    schedule = make_lr_schedule(optimizer, settings, state)
    order = _memory_order(plan, accelerator.device)
    module = module.to(memory_format=order)  # type: ignore[call-overload]
    task, optimizer = accelerator.prepare(module, optimizer)
    average = make_average(accelerator.unwrap_model(task).model, settings.ema) if settings.ema else None
    if settings.compile:
        _compile(accelerator.unwrap_model(task).model)
    run = Run(
        plan=plan,
        folder=folder,
        accelerator=accelerator,
        task=task,
        optimizer=optimizer,
        schedule=schedule,
        average=average,
        state=state,
        losses=losses,
        channels_last=order != torch.contiguous_format,
    )
    plan.task.criterion.reports_hardness = losses is not None
    kept = [part for part in (average, losses) if part is not None]
    accelerator.register_for_checkpointing(schedule, run.state, *kept)
    if plan.resume:
        _go_back(run, plan.resume, order)
    return run


def _go_back(run: Run, place: Path, order: torch.memory_format) -> None:
    """Go back to a checkpoint. Meanwhile weights lie contiguously: those of two names are read in no other order."""
    modules = [part for part in (run.task, run.average) if part is not None]
    for module in modules:
        module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    found = checkpoint.restore(run.accelerator, place)
    for module in modules:
        module.to(memory_format=order)  # type: ignore[call-overload]
    lay_out_moments(run.optimizer)
    run.stopwatch.before = run.state.seconds
    if run.accelerator.is_main_process:
        checkpoint.take_best_along(found, run.folder)


def _use_hardware(settings: TrainingSettings) -> None:
    """Set what torch keeps for the whole process."""
    torch.backends.cuda.matmul.allow_tf32 = settings.tf32
    torch.backends.cudnn.allow_tf32 = settings.tf32
    torch._dynamo.config.suppress_errors = settings.compile  # a network that cannot be compiled runs as it is
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(settings.deterministic)


def _optimizer(module: nn.Module, plan: Plan, device: torch.device) -> torch.optim.Optimizer:
    """Return the optimiser of a task; UserError for learning rates of parameters that it does not have."""
    model = plan.task.model
    begins = plan.weights is None
    auto_lr = model.learning_rate if begins and isinstance(model, SegmentationModel) else GIVEN_WEIGHTS_LR
    try:
        return make_optimizer(module, plan.settings, auto_lr=auto_lr, on_cpu=device.type == "cpu")
    except ValueError as error:
        raise UserError(expected="options that fit the model", found=str(error), do="change train.lr_scales") from error


def _memory_order(plan: Plan, device: torch.device) -> torch.memory_format:
    """Return the memory order of images and weights."""
    asked, model = plan.settings.channels_last, plan.task.model
    if asked == "auto":
        asked = device.type == "cpu" and isinstance(model, SegmentationModel) and model.quicker_channels_last
    if not asked:
        return torch.contiguous_format
    return torch.channels_last if len(plan.window) == 2 else torch.channels_last_3d


def _compile(model: nn.Module) -> None:
    """Run a network, of a promptable one its main part, through torch.compile; parameters keep their names."""
    (model.main_part if isinstance(model, PromptableModel) else model).compile()


def _use_rates(task: Task, rates: Sequence[float]) -> None:
    """Give the loss and the model what they take from the training set's imbalance."""
    task.criterion.use_rates(rates)
    model = task.model
    if isinstance(model, SegmentationModel) and model.prior is not None:
        try:
            model.start_from(prior_logits(model.prior, rates, task.criterion.link))
        except ValueError as error:
            raise UserError(
                expected="a prior that fits the loss and the model", found=str(error), do="change model.prior"
            ) from error
