"""Instance norms written so that OpenVINO's float32 sums keep to torch's answer.

OpenVINO sums each channel in one long float32 sum; torch sums in double. Where much of a window is air, all of one
value, every addition is rounded the same way: the logits of U-Nets were off by 0.003 in 2-D and 0.2 in 3-D. Here sums
are short, and the level that air has is taken away before, so that nothing large cancels in the variance: off by 3e-5
and 7e-5, where torch itself is off by 2e-5 and 3e-5 of its answer in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

InstanceNorm = nn.InstanceNorm2d | nn.InstanceNorm3d

_POOL = 8  # pixels a side of a pool, at most
_FEW = 4  # every so many pixels an axis are enough for a rough mean


class SteadyNorm(nn.Module):
    """An instance norm of short sums; in 3-D a twentieth of a U-Net's time slower than OpenVINO's own, in 2-D a sixth.

    The variance is the mean of (x − level)² less the square of the mean of x − level.

    Args:
        norm: of torch.
        level: of each channel [c], near what it is in air. None takes a rough mean of every input, which costs a pass:
            needed where contrast may be small, which is only before the first norm.
    """

    def __init__(self, norm: InstanceNorm, level: Tensor | None = None) -> None:
        super().__init__()
        flat = isinstance(norm, nn.InstanceNorm2d)
        shape = (1, -1, 1, 1) if flat else (1, -1, 1, 1, 1)
        self.weight = (norm.weight if norm.affine else torch.ones(norm.num_features)).detach().reshape(shape)
        self.bias = (norm.bias if norm.affine else torch.zeros(norm.num_features)).detach().reshape(shape)
        self.level = None if level is None else level.reshape(shape)
        self.eps = norm.eps
        self.pool = F.avg_pool2d if flat else F.avg_pool3d

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised channels."""
        x = x - (_rough_mean(x) if self.level is None else self.level)
        *sides, line = [int(side) for side in x.shape[2:]]
        mean = self._mean(x, [*sides, line])
        of_lines = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square()  # one pass; x² would be two
        variance = (self._mean(of_lines, [*sides, 1]) / line - mean.square()).clamp(min=0)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return x * scale + (self.bias - mean * scale)

    def _mean(self, x: Tensor, sides: Sequence[int]) -> Tensor:
        return self.pool(x, [gcd(side, _POOL) for side in sides]).mean(_space(x), keepdim=True)


def steadier(network: nn.Module, example: Sequence[Tensor]) -> Iterator[nn.Module]:
    """Yield a network, and if it has instance norms, a copy with steady ones, nearer to torch and slower.

    Args:
        network: in evaluation mode.
        example: inputs. Zeros in their place are air.
    """
    yield network
    norms = _levels_in_air(network, example)
    if norms:
        first, *_ = norms
        steady = {id(norm): SteadyNorm(norm, None if norm is first else level) for norm, level in norms.items()}
        yield deepcopy(network, steady)


@torch.no_grad()
def _levels_in_air(network: nn.Module, example: Sequence[Tensor]) -> dict[InstanceNorm, Tensor]:
    """Return what each channel is in the middle of an empty image, by norm in the order in which they run."""
    levels: dict[InstanceNorm, Tensor] = {}

    def note_level(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, InstanceNorm)
        (x,) = inputs
        levels.setdefault(norm, x[0].movedim(0, -1)[tuple(side // 2 for side in x.shape[2:])].clone())

    norms = [m for m in network.modules() if isinstance(m, InstanceNorm) and not m.track_running_stats]
    hooks = [norm.register_forward_pre_hook(note_level) for norm in norms]
    try:
        if norms:
            network(*[torch.zeros_like(tensor[:1]) for tensor in example])
    finally:
        for hook in hooks:
            hook.remove()
    return levels


def _rough_mean(x: Tensor) -> Tensor:
    few = x[:, :, ::_FEW, ::_FEW] if x.ndim == 4 else x[:, :, ::_FEW, ::_FEW, ::_FEW]
    return few.mean(_space(x), keepdim=True)


def _space(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))
