"""The optimiser, by its name in the settings: which parameters it trains, at which rate, with which decay."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from segfocal.engine.settings import TrainingSettings

GIVEN_WEIGHTS_LR = 1e-3  # of auto, for weights that are not random
_SGD_LR = 0.01  # nnU-Net's


def make_optimizer(
    task: nn.Module, settings: TrainingSettings, *, auto_lr: float = GIVEN_WEIGHTS_LR, on_cpu: bool = False
) -> torch.optim.Optimizer:
    """Return the optimiser over all trainable parameters; biases and norms (one-dimensional) are not decayed.

    Parameters with a scale of 0 in `lr_scales` are frozen.

    Args:
        task: whose parameters are trained.
        settings: which optimiser, and how.
        auto_lr: the learning rate where the settings leave it to the model; of "sgd" it is nnU-Net's instead.
        on_cpu: where they will be trained. There Adam's step is one loop over a parameter, in place of torch's dozen
            passes over memory; on a GPU it is torch's choice.

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
    lr = _learning_rate(settings, auto_lr)
    options = [
        {"params": members, "lr": lr * scale, "weight_decay": settings.weight_decay if decayed else 0.0}
        for (scale, decayed), members in sorted(groups.items(), key=lambda item: (-item[0][0], not item[0][1]))
    ]
    if settings.optimizer == "sgd":  # fused, it fails where a parameter has its first gradient after the first step
        return torch.optim.SGD(options, lr=lr, momentum=0.99, nesterov=True)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(options, lr=lr, fused=True if on_cpu else None)


def lay_out_moments(optimizer: torch.optim.Optimizer) -> None:
    """Give every moment of an optimiser the memory order of its parameter.

    The fused step walks all of them as they lie in memory. Moments of a checkpoint may lie otherwise: they come from a
    run with another `train.channels_last`, or from a GPU.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            moment = isinstance(value, Tensor) and value.shape == parameter.shape
            if moment and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def _learning_rate(settings: TrainingSettings, auto_lr: float) -> float:
    if settings.lr != "auto":
        return settings.lr
    return _SGD_LR if settings.optimizer == "sgd" else auto_lr


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
