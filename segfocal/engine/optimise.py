"""Optimiser, learning-rate schedule and averaged weights, by the names in the settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from segfocal.engine.settings import Settings

_POWER = 0.9  # of the poly schedule, as nnU-Net's
_DROP = 0.5  # of the plateau schedule

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_optimizer(task: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Return the optimiser over all trainable parameters; biases and norms (one-dimensional) are not decayed.

    Parameters with a scale of 0 in `lr_scales` are frozen.

    Raises:
        ValueError: a pattern in lr_scales that matches no parameter.
    """
    scales = settings.lr_scales or {}
    _check_patterns(task, scales)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in task.named_parameters():
        scale = _scale_of(name, scales)
        parameter.requires_grad_(parameter.requires_grad and scale > 0)
        if parameter.requires_grad:
            groups.setdefault((scale, parameter.ndim > 1), []).append(parameter)
    options = [
        {"params": members, "lr": settings.lr * scale, "weight_decay": settings.weight_decay if decayed else 0.0}
        for (scale, decayed), members in sorted(groups.items(), key=lambda item: (-item[0][0], not item[0][1]))
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(options, lr=settings.lr, momentum=0.99, nesterov=True)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(options, lr=settings.lr)


def _scale_of(name: str, scales: Mapping[str, float]) -> float:
    return [1.0, *[scale for pattern, scale in scales.items() if fnmatchcase(name, pattern)]][-1]


def _check_patterns(task: nn.Module, scales: Mapping[str, float]) -> None:
    names = [name for name, _ in task.named_parameters()]
    unused = [pattern for pattern in scales if not any(fnmatchcase(name, pattern) for name in names)]
    if unused:
        raise ValueError(
            f"expected patterns in train.lr_scales that match parameters; {unused} match none of {names[:3]} …: write "
            "them as *image_encoder*"
        )


def make_schedule(
    optimizer: torch.optim.Optimizer, settings: Settings, plateaus: Callable[[], int] = lambda: 0
) -> LambdaLR:
    """Return a linear warm-up, then a cosine or a power to zero, halvings or a constant; one value a step.

    plateaus: says how often validation has stopped getting better so far, each time a halving for `plateau`.
    """
    warmup = max(1, round(settings.warmup * settings.steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if settings.schedule == "constant":
            return 1.0
        if settings.schedule == "plateau":
            return _DROP ** plateaus()
        past = min(1.0, (step - warmup) / max(1, settings.steps - warmup))
        return (1 - past) ** _POWER if settings.schedule == "poly" else 0.5 * (1 + math.cos(math.pi * past))

    return LambdaLR(optimizer, factor)


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a model's weights.

    The decay grows from 0.1 to `decay` as min(decay, (1+n)/(10+n)), so that the average forgets the random start.
    """

    def blend(averages: Tensors, current: Tensors, count: Tensor | int) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(list(averages), list(current), 1 - now)

    return AveragedModel(model, multi_avg_fn=blend)
