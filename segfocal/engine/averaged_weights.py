"""The exponential moving average of a model's weights, which is validated and kept in place of the last weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a model's weights.

    The decay grows from 0.1 to `decay` as min(decay, (1+n)/(10+n)), so that the average forgets the random start.
    """

    def blend(averages: Tensors, current: Tensors, count: Tensor | int) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(list(averages), list(current), 1 - now)

    return AveragedModel(model, multi_avg_fn=blend)
