"""Instance norms written so that OpenVINO's float32 sums keep to torch's answer.

OpenVINO sums each channel in one long float32 sum; torch sums in double. Where half a window is air, all of one value,
every addition is rounded the same way: the logits of trained U-Nets were off by 0.001 in 2-D and 0.01 in 3-D. Shorter
sums mend that, and cost time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_POOL = 8  # pixels a side of a pool, at most
_FEW = 4  # every so many pixels an axis are enough for a rough mean


class FlatNorm(nn.Module):
    """An instance norm of channels laid out as lines, of which OpenVINO sums sixteen parts; a fifth slower in 2-D."""

    def __init__(self, norm: nn.InstanceNorm2d | nn.InstanceNorm3d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised channels."""
        norm = self.norm
        return F.instance_norm(x.flatten(2), weight=norm.weight, bias=norm.bias, eps=norm.eps).reshape(x.shape)


class PooledNorm(nn.Module):
    """An instance norm whose sums are means of small pools first; in 3-D half as slow again, in 2-D as slow as torch.

    With a rough mean r, the variance is the mean of (x − r)² less the square of what r is off: nothing large cancels.
    """

    def __init__(self, norm: nn.InstanceNorm2d | nn.InstanceNorm3d) -> None:
        super().__init__()
        flat = isinstance(norm, nn.InstanceNorm2d)
        shape = (1, -1, 1, 1) if flat else (1, -1, 1, 1, 1)
        self.weight = (norm.weight if norm.affine else torch.ones(norm.num_features)).detach().reshape(shape)
        self.bias = (norm.bias if norm.affine else torch.zeros(norm.num_features)).detach().reshape(shape)
        self.eps = norm.eps
        self.pool = F.avg_pool2d if flat else F.avg_pool3d

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised channels."""
        rough = _rough_mean(x)
        apart = x - rough
        mean, squares = self._mean(x), self._mean(apart * apart)
        scale = self.weight * torch.rsqrt(squares - (mean - rough).square() + self.eps)
        return x * scale + (self.bias - mean * scale)

    def _mean(self, x: Tensor) -> Tensor:
        pools = [gcd(int(side), _POOL) for side in x.shape[2:]]
        return self.pool(x, pools).mean(_space(x), keepdim=True)


def steadier(network: nn.Module) -> Iterator[nn.Module]:
    """Yield a network, and if it has instance norms, copies with each remedy, from the fastest to the most exact."""
    yield network
    norms = [m for m in network.modules() if isinstance(m, nn.InstanceNorm2d | nn.InstanceNorm3d)]
    norms = [norm for norm in norms if not norm.track_running_stats]
    remedies: tuple[Callable[[nn.InstanceNorm2d | nn.InstanceNorm3d], nn.Module], ...] = (FlatNorm, PooledNorm)
    for remedy in remedies if norms else ():
        yield deepcopy(network, {id(norm): remedy(norm) for norm in norms})


def _rough_mean(x: Tensor) -> Tensor:
    few = x[:, :, ::_FEW, ::_FEW] if x.ndim == 4 else x[:, :, ::_FEW, ::_FEW, ::_FEW]
    return few.mean(_space(x), keepdim=True)


def _space(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))
