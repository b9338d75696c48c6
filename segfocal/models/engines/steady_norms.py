"""Instance norms written so that OpenVINO's float32 sums keep to torch's answer.

OpenVINO sums a channel in one long float32 sum; torch sums in double. Where half a window is air, all of one value,
every addition is rounded the same way, and the logits of trained U-Nets were off by 0.001 in 2-D and 0.01 in 3-D. Two
remedies, each exact in real numbers: a norm is the same for numbers from which a constant was taken first, and a sum
may be made in two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

_FEW = 4  # every so many pixels an axis are enough for a rough mean


class CentredNorm(nn.Module):
    """An instance norm that takes a rough mean from a channel first; a fifth slower than the norm alone."""

    def __init__(self, norm: nn.InstanceNorm2d | nn.InstanceNorm3d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised channels."""
        few = x[:, :, ::_FEW, ::_FEW] if x.ndim == 4 else x[:, :, ::_FEW, ::_FEW, ::_FEW]
        return self.norm(x - few.mean(_space(x), keepdim=True))


class TwoStepNorm(nn.Module):
    """An instance norm whose sums run along rows first, then over rows; half as slow again as the norm alone."""

    def __init__(self, norm: nn.InstanceNorm2d | nn.InstanceNorm3d) -> None:
        super().__init__()
        shape = (1, -1, 1, 1) if isinstance(norm, nn.InstanceNorm2d) else (1, -1, 1, 1, 1)
        self.weight = (norm.weight if norm.affine else torch.ones(norm.num_features)).detach().reshape(shape)
        self.bias = (norm.bias if norm.affine else torch.zeros(norm.num_features)).detach().reshape(shape)
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised channels."""
        centred = x - self._mean(x)
        return centred * (self.weight * torch.rsqrt(self._mean(centred * centred) + self.eps)) + self.bias

    def _mean(self, x: Tensor) -> Tensor:
        rows = x.sum(-1, keepdim=True) * (1 / x.shape[-1])  # not a mean: OpenVINO would join two of them
        return rows.mean(_space(x), keepdim=True)


def steadier(network: nn.Module) -> Iterator[nn.Module]:
    """Yield a network, and if it has instance norms, copies with each remedy, from the fastest to the most exact."""
    yield network
    norms = [m for m in network.modules() if isinstance(m, nn.InstanceNorm2d | nn.InstanceNorm3d)]
    norms = [norm for norm in norms if not norm.track_running_stats]
    remedies: tuple[Callable[[nn.InstanceNorm2d | nn.InstanceNorm3d], nn.Module], ...] = (CentredNorm, TwoStepNorm)
    for remedy in remedies if norms else ():
        yield deepcopy(network, {id(norm): remedy(norm) for norm in norms})


def _space(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))
