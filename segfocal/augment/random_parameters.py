"""The random parameters of an augmentation: a row of uniform numbers a sample, with columns of its own for each use.

A use keeps its columns whether other changes are on or off, so switching one off leaves the others as they were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor

from segfocal.augment.images import interpolated
from segfocal.batch import AUGMENTING, SampleKey, uniforms

ELASTIC_KNOTS, BIAS_KNOTS = 5, 4  # a side, of the coarse grids between which smooth fields are interpolated

# The changes that `Augment.probability` may name. Each has a column, its gate, that decides whether a sample gets it.
GATED = (
    *("rotate", "scale", "anisotropy", "shift", "elastic", "zoom"),
    *("window_jitter", "enhance", "contrast", "brightness", "gamma", "bias", "noise"),
)

# The columns of a row, in order: the use, and how many numbers it takes. A new use goes to
# the end, so that runs keep their numbers.
_WIDTHS = {
    "rotate": 1,  # angle
    "scale": 1,  # factor of both axes
    "anisotropy": 1,  # factor of w, and of h inverted
    "shift_w": 1,
    "shift_h": 1,
    "mirror_w": 1,  # mirrored below one half
    "mirror_h": 1,
    "elastic": 2 * ELASTIC_KNOTS**2,  # displacement in x, then in y
    "enhance": 1,  # added to the target
    "contrast": 1,
    "brightness": 1,
    "gamma": 1,
    "bias": BIAS_KNOTS**2,  # logarithm of the field
    "blur": 1,  # blurred below the probability
    "blur_sigma": 1,
    "noise": 1,  # standard deviation; the noise itself is drawn by `images.normals`
    "mirror_d": 1,
    "zoom": 1,
    "window_lower": 1,  # lower end of the intensity window
    "window_upper": 1,
    "coarse": 1,  # coarsened below the probability
    "coarse_factor": 1,
    **{f"gate of {name}": 1 for name in GATED},  # made below the probability
}
_FIRST = dict(zip(_WIDTHS, accumulate(_WIDTHS.values(), initial=0), strict=False))
_COUNT = sum(_WIDTHS.values())


class RandomParameters:
    """Uniform numbers of n samples (or channels), by the name of their use.

    Args:
        numbers: [n, columns] in [0,1).
        probability: of each change that is not always made, by its name. Where a change is not made, its parameters
            are 0.
    """

    def __init__(self, numbers: Tensor, probability: Mapping[str, float]) -> None:
        self.numbers, self.probability = numbers, probability

    def uniform(self, name: str) -> Tensor:
        """Return one number in [0,1) a sample, shaped [n,1,1,1]."""
        return self.numbers[:, _FIRST[name], None, None, None]

    def strength(self, name: str) -> Tensor:
        """Return one number in [0,1) a sample, or 0 where the change is not made, shaped [n,1,1,1]."""
        return self._gated(self.uniform(name), name)

    def symmetric(self, name: str, *, of: str | None = None) -> Tensor:
        """Return one number in [−1,1) a sample, or 0 where the change (`of`, or `name`) is not made, [n,1,1,1]."""
        return self._gated(2 * self.uniform(name) - 1, of or name)

    def smooth_field(self, name: str, knots: int, size: tuple[int, int]) -> Tensor:
        """Return smooth random fields [n,f,h,w] of unit standard deviation at their knots; 0 where not made.

        Args:
            name: of the use, whose columns are f·knots² numbers.
            knots: on each side of the coarse grid.
            size: (h, w) of the fields, interpolated bicubically between the knots.
        """
        values = self.numbers[:, _FIRST[name] : _FIRST[name] + _WIDTHS[name]]
        coarse = ((2 * values - 1) * math.sqrt(3.0)).reshape(len(values), -1, knots, knots)
        return interpolated(self._gated(coarse, name), size)

    def _gated(self, values: Tensor, change: str) -> Tensor:
        if change not in self.probability:
            return values
        return values * (self.uniform(f"gate of {change}") < self.probability[change])


def random_parameters(
    keys: tuple[SampleKey, ...], *, channels: int, probability: Mapping[str, float], device: torch.device
) -> tuple[RandomParameters, RandomParameters]:
    """Return the parameters of b samples, and of their b·channels channels.

    A sample's first channel has the parameters of the sample.

    Args:
        keys: of the b samples; a row is a function of its key.
        channels: that change by themselves; 1 where all change alike.
        probability: of the changes that are not always made, by name.
        device: of the numbers; they are drawn on the CPU, so they are the same on every device.
    """
    numbers = uniforms(keys, AUGMENTING, channels * _COUNT).to(device)
    of_samples = RandomParameters(numbers[:, :_COUNT], probability)
    return of_samples, RandomParameters(numbers.reshape(-1, _COUNT), probability)
