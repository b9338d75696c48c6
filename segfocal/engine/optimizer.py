"""The optimiser, by its name in the settings: which parameters it trains, at which rate, with which decay."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

import torch
from torch import nn

from segfocal.engine.settings import TrainingSettings


def make_optimizer(task: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
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
