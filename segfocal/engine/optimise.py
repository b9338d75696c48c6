"""Optimiser, learning-rate schedule and averaged weights, by the names in the settings."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from segfocal.engine.settings import Settings

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_optimizer(task: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Return the optimiser over all trainable parameters; biases and norms (one-dimensional) are not decayed."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in (p for p in task.parameters() if p.requires_grad):
        (decayed if parameter.ndim > 1 else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=0.99, nesterov=True)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.lr)


def make_schedule(optimizer: torch.optim.Optimizer, settings: Settings) -> LambdaLR:
    """Return a linear warm-up, then a cosine to zero (or a constant), one value a step."""
    warmup = max(1, round(settings.warmup * settings.steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if settings.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, settings.steps - warmup)))

    return LambdaLR(optimizer, factor)


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a model's weights.

    The decay grows from 0.1 to `decay` as min(decay, (1+n)/(10+n)), so that the average forgets the random start.
    """

    def blend(averages: Tensors, current: Tensors, count: Tensor | int) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(list(averages), list(current), 1 - now)

    return AveragedModel(model, multi_avg_fn=blend)
