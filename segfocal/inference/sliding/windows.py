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
class Axis:
    """The windows along one axis: first index of each, their common length, and weights [windows, length].

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


def plan_axis(
    size: int,
    length: int,
    *,
    overlap: float = 0.5,
    weighting: Weighting = "gaussian",
    sigma_share: float = SIGMA_SHARE,
) -> Axis:
    """Plan windows of `length` over `size` indices (pad to `length` first when size is smaller).

    Steps are length·(1 − overlap) rounded down; the last window is moved back to end with the axis. Weights are a
    Gaussian (standard deviation sigma_share·length, no smaller than 0.001 of its peak) or constant, divided by
    their sum at each index.

    Raises:
        ValueError: overlap outside [0, 1), size < length, or a length < 1.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"expected an overlap in [0,1); got {overlap}")
    if not 1 <= length <= size:
        raise ValueError(f"expected a window of 1 to {size} indices; got {length}")
    step = max(1, int(length * (1 - overlap)))
    count = math.ceil((size - length) / step) + 1
    starts = tuple(min(i * step, size - length) for i in range(count))
    profile = torch.ones(length, dtype=torch.float64)
    if weighting == "gaussian":
        distance = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
        profile = torch.exp(-0.5 * (distance / (sigma_share * length)) ** 2).clamp(min=FLOOR)
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
