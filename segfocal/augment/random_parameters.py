"""The random numbers of an augmentation: a column for each use, so that what is switched off moves nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

from segfocal.batch import AUGMENTING, SampleKey, uniforms

ELASTIC_KNOTS, BIAS_KNOTS = 5, 4  # a side, of smooth fields
GATED = (  # settings that may have a probability
    *("rotate", "scale", "anisotropy", "shift", "elastic", "zoom"),
    *("window_jitter", "enhance", "contrast", "brightness", "gamma", "bias", "noise"),
)

# The columns of random numbers: use → how many. New ones go to the end, so that a run keeps its numbers.
_WIDTHS = {
    # geometry
    "rotate": 1,
    "scale": 1,
    "anisotropy": 1,
    "shift_w": 1,
    "shift_h": 1,
    "mirror_w": 1,
    "mirror_h": 1,
    "elastic": 2 * ELASTIC_KNOTS**2,  # x and y at the knots of a smooth field
    # intensities
    "enhance": 1,
    "contrast": 1,
    "brightness": 1,
    "gamma": 1,
    "bias": BIAS_KNOTS**2,  # at the knots of a smooth field
    "blur": 1,  # whether
    "blur_sigma": 1,  # how much
    "noise": 1,  # strength; the noise itself is drawn by `normals`
    # added later
    "mirror_d": 1,
    "zoom": 1,
    "window_lower": 1,
    "window_upper": 1,
    "coarse": 1,  # whether
    "coarse_factor": 1,  # how much
    **{f"gate of {name}": 1 for name in GATED},  # whether a setting with a probability is applied
}
_FIRST = dict(zip(_WIDTHS, accumulate(_WIDTHS.values(), initial=0), strict=False))
_COUNT = sum(_WIDTHS.values())


class Draws:
    """Uniform numbers [n, columns] of n samples (or channels), by the name of their use.

    Args:
        numbers: [n, columns] in [0,1).
        probability: of each setting that is not always applied, by its name; where it is not, its numbers become 0.
    """

    def __init__(self, numbers: Tensor, probability: Mapping[str, float]) -> None:
        self.numbers, self.probability = numbers, probability

    def one(self, name: str) -> Tensor:
        """Return one number in [0,1) a sample, shaped [n,1,1,1]."""
        return self.numbers[:, _FIRST[name], None, None, None]

    def strength(self, name: str) -> Tensor:
        """Return one number in [0,1) a sample, or 0 where the setting is left out, shaped [n,1,1,1]."""
        return self._gated(self.one(name), name)

    def symmetric(self, name: str, *, of: str | None = None) -> Tensor:
        """Return one number in [−1,1) a sample, or 0 where the setting (`of`, or `name`) is left out, [n,1,1,1]."""
        return self._gated(2 * self.one(name) - 1, of or name)

    def smooth_field(self, name: str, knots: int, size: tuple[int, int]) -> Tensor:
        """Return smooth random fields [n,f,h,w] of about unit standard deviation at their knots."""
        values = self.numbers[:, _FIRST[name] : _FIRST[name] + _WIDTHS[name]]
        coarse = ((2 * values - 1) * math.sqrt(3.0)).reshape(len(values), -1, knots, knots)
        return F.interpolate(self._gated(coarse, name), size=size, mode="bicubic", align_corners=True)

    def _gated(self, values: Tensor, setting: str) -> Tensor:
        if setting not in self.probability:
            return values
        return values * (self.one(f"gate of {setting}") < self.probability[setting])


def draws_of(
    keys: tuple[SampleKey, ...], *, channels: int, probability: Mapping[str, float], device: torch.device
) -> tuple[Draws, Draws]:
    """Return the draws of b samples, and those of their b·channels channels, where each has its own.

    A sample's first channel has the numbers of the sample.
    """
    numbers = uniforms(keys, AUGMENTING, channels * _COUNT).to(device)
    return Draws(numbers[:, :_COUNT], probability), Draws(numbers.reshape(-1, _COUNT), probability)
