"""Where a sliding window stands, and how much each window counts where several overlap.

Windows are a tensor product of positions along each axis, so weights that sum to one along every axis sum to one
everywhere: blending needs no second buffer of counts and no division.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Weighting = Literal["gaussian", "constant"]

SIGMA_SHARE = 0.125  # of the window, as nnU-Net and MONAI
FLOOR = 1e-3  # of the peak: the corner that only one window sees must keep a usable weight


@dataclass(frozen=True, kw_only=True)
class WindowOverlap:
    """How far neighbouring windows overlap, and what each counts where they do.

    Args:
        share: of a window's length that it has in common with the next, in [0,1).
        weighting: of a window's indices: gaussian, so that its middle counts most, or constant.
        sigma_share: standard deviation of the Gaussian as a share of the length.

    Raises:
        ValueError: a share outside [0,1).
    """

    share: float = 0.5
    weighting: Weighting = "gaussian"
    sigma_share: float = SIGMA_SHARE

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"expected an overlap in [0,1); got {self.share}")


HALF = WindowOverlap()


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The windows along one axis.

    Args:
        starts: first index of each window, ascending.
        length: indices of a window, the same for all.
        weights: [windows, length]; they sum to one at every index.
        before: [windows, length], what the weights of earlier windows sum to at the same indices.
    """

    starts: tuple[int, ...]
    length: int
    weights: Tensor
    before: Tensor

    @property
    def size(self) -> int:
        """Indices the windows cover together."""
        return self.starts[-1] + self.length


def plan_axis(size: int, length: int, overlap: WindowOverlap = HALF) -> Axis:
    """Plan windows of `length` over `size` indices (pad to `length` first when size is smaller).

    Steps are length·(1 − overlap.share) rounded down; the last window is moved back to end with the axis. Weights are a
    Gaussian (standard deviation sigma_share·length, no smaller than 0.001 of its peak) or constant, divided by
    their sum at each index.

    Raises:
        ValueError: size < length, or a length < 1.
    """
    if not 1 <= length <= size:
        raise ValueError(f"expected a window of 1 to {size} indices; got {length}")
    step = max(1, int(length * (1 - overlap.share)))
    count = math.ceil((size - length) / step) + 1
    starts = tuple(min(i * step, size - length) for i in range(count))
    profile = torch.ones(length, dtype=torch.float64)
    if overlap.weighting == "gaussian":
        distance = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
        profile = torch.exp(-0.5 * (distance / (overlap.sigma_share * length)) ** 2).clamp(min=FLOOR)
    total = torch.zeros(size, dtype=torch.float64)
    for start in starts:
        total[start : start + length] += profile
    seen = torch.zeros(size, dtype=torch.float64)
    weights, before = torch.empty(count, length), torch.empty(count, length)
    for index, start in enumerate(starts):
        place = slice(start, start + length)
        before[index] = seen[place]
        weights[index] = profile / total[place]
        seen[place] += profile / total[place]
    return Axis(starts=starts, length=length, weights=weights, before=before)


def padding_for(size: Sequence[int], window: Sequence[int]) -> list[tuple[int, int]]:
    """Return how many indices to add before and after each axis so that a window fits; split evenly."""
    missing = [max(0, w - s) for s, w in zip(size, window, strict=True)]
    return [(m // 2, m - m // 2) for m in missing]
