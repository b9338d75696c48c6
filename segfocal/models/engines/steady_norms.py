"""Norms written for OpenVINO: of short sums, near to torch's answer, and without turning the memory's order.

OpenVINO sums each channel of an instance norm in one long float32 sum; torch sums in double. Where much of a window is
air, all of one value, every addition is rounded the same way: the logits of U-Nets were off by 0.003 in 2-D and 0.2 in
3-D. Here sums are short, and the level that air has is taken away before, so that nothing large cancels in the
variance: off by 3e-5 and 7e-5, where torch itself is off by 2e-5 and 3e-5 of its answer in float64.

Around a group norm OpenVINO turns the maps from channels last to channels first and back, which takes longer than the
norm: a third of sam_tiny's encoder. These sums go by channel, and the groups are made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

InstanceNorm = nn.InstanceNorm2d | nn.InstanceNorm3d
Norm = InstanceNorm | nn.GroupNorm

_POOL = 8  # pixels a side of a pool, at most
_FEW = 4  # every so many pixels an axis are enough for a rough mean


class SteadyNorm(nn.Module):
    """An instance or group norm of maps [b,c,*space], of short sums by channel.

    As instance norm it takes a twentieth of a U-Net's time more than OpenVINO's own in 3-D, in 2-D a sixth.

    Args:
        norm: of torch.
        level: of each channel [c], near what it is in air. None takes a rough mean of every input, which costs a pass:
            needed where contrast may be small, which is only before the first norm.
    """

    def __init__(self, norm: Norm, level: Tensor | None = None) -> None:
        super().__init__()
        self.channels = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features
        self.groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else self.channels
        self.weight = norm.weight.detach() if norm.affine else torch.ones(self.channels)
        self.bias = norm.bias.detach() if norm.affine else torch.zeros(self.channels)
        self.level, self.eps = level, norm.eps
        each = self.channels // self.groups
        together = torch.block_diag(*[torch.full((each, each), 1 / each, dtype=torch.float64)] * self.groups)
        self.together = together.to(self.weight.dtype)
        self.apart = None if level is None else (together @ level.double() - level).to(self.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised maps."""
        ones = [1] * (x.ndim - 2)
        x = x - (self._of_groups(_rough_mean(x)) if self.level is None else self.level.reshape(1, -1, *ones))
        *sides, line = [int(side) for side in x.shape[2:]]
        mean = _mean(x, [*sides, line])
        of_lines = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square()  # one pass; x² would be two
        variance = (_mean(of_lines, [*sides, 1]) / line - mean.square()).clamp(min=0)
        if self.groups < self.channels:
            own, mean = mean, self._of_groups(mean)
            if self.apart is not None:
                mean = mean + self.apart.reshape(1, -1, *ones)
            variance = self._of_groups(variance + (own - mean).square())
        scale = self.weight.reshape(1, -1, *ones) * torch.rsqrt(variance + self.eps)
        return x * scale + (self.bias.reshape(1, -1, *ones) - mean * scale)

    def _of_groups(self, numbers: Tensor) -> Tensor:
        """Return the mean of each channel's group of numbers [b,c,1,…]: a convolution keeps the channels last."""
        if self.groups == self.channels:
            return numbers
        ones = [1] * (numbers.ndim - 2)
        convolution = F.conv2d if numbers.ndim == 4 else F.conv3d
        return convolution(numbers, self.together.reshape(self.channels, self.channels, *ones))


def steadier(network: nn.Module, air: Sequence[Tensor]) -> Iterator[nn.Module]:
    """Yield forms of a network, the same in real numbers, from the fastest on an engine to the slowest.

    The first has steady group norms, the second steady instance norms too, and is nearer to torch. The network itself
    is among them, alone where it has no such norms.

    Args:
        network: in evaluation mode.
        air: inputs for an image that shows nothing.
    """
    levels = _levels(network, air)
    first = next(iter(levels), None)
    steady = {norm: SteadyNorm(norm, None if norm is first else level) for norm, level in levels.items()}
    groups = {id(norm): new for norm, new in steady.items() if isinstance(norm, nn.GroupNorm)}
    if groups:
        yield deepcopy(network, dict(groups))
    if len(steady) > len(groups):
        if not groups:
            yield network
        yield deepcopy(network, {id(norm): new for norm, new in steady.items()})
    else:
        yield network


@torch.no_grad()
def _levels(network: nn.Module, air: Sequence[Tensor]) -> dict[Norm, Tensor]:
    """Return what each channel is in the middle of an empty image, by norm in the order in which they run."""
    levels: dict[Norm, Tensor] = {}

    def note_level(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, Norm)
        (x,) = inputs
        if x.ndim in (4, 5):
            levels.setdefault(norm, x[0].movedim(0, -1)[tuple(side // 2 for side in x.shape[2:])].clone())

    norms = [m for m in network.modules() if isinstance(m, Norm) and not getattr(m, "track_running_stats", False)]
    hooks = [norm.register_forward_pre_hook(note_level) for norm in norms]
    try:
        if norms:
            network(*air)
    finally:
        for hook in hooks:
            hook.remove()
    return levels


def _mean(x: Tensor, sides: Sequence[int]) -> Tensor:
    pool = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
    return pool(x, [gcd(side, _POOL) for side in sides]).mean(_space(x), keepdim=True)


def _rough_mean(x: Tensor) -> Tensor:
    few = x[:, :, ::_FEW, ::_FEW] if x.ndim == 4 else x[:, :, ::_FEW, ::_FEW, ::_FEW]
    return few.mean(_space(x), keepdim=True)


def _space(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))
