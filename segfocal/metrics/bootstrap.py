"""How far a mean might have come out otherwise: bootstrap intervals by the percentile method.

Units are drawn with replacement, as many as there are, again and again; the interval lies between two percentiles of
the means of these resamples. Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_AT_A_TIME = 4_000_000  # draws held in memory


class Interval(NamedTuple):
    """A mean and the interval around it; low and high are NaN where there is none."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values: ArrayLike, *, seed: int, level: float = 0.95, resamples: int = 2000) -> Interval:
    """Return a mean and its percentile interval; a single unit has no interval.

    Of several columns the mean is that of their means. A unit is drawn with all its columns, which keeps what they have
    in common; a column without a value in a resample is left out of it.

    Args:
        values: [n] of n units, or [n,k] of n units in k columns, such as cases and structures; NaN where a unit has no
            value.
        seed: of the resamples; the same values and seed give the same interval.
        level: of the interval, in (0,1).
        resamples: how many are drawn, ≥ 1.

    Raises:
        ValueError: a column without a value, a level outside (0,1), resamples < 1.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    array = array[np.isfinite(array).any(1)]
    known = np.isfinite(array)
    if not known.any(0).all() or not array.size:
        raise ValueError(f"expected a finite value in each column; got values of shape {array.shape}")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"expected a level in (0,1) and resamples ≥ 1; got {level} and {resamples}")
    filled = np.where(known, array, 0.0)
    mean = float((filled.sum(0) / known.sum(0)).mean())
    if len(array) < 2:
        return Interval(mean, math.nan, math.nan)
    means = _resampled(filled, known, np.random.default_rng(seed), resamples)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return Interval(mean, float(low), float(high))


def _resampled(filled: NDArray, known: NDArray, rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """Return the mean of each resample."""
    n, means = len(filled), []
    while resamples:
        count = min(resamples, max(1, _AT_A_TIME // n))
        times = rng.multinomial(n, np.full(n, 1 / n), size=count).astype(np.float64)  # that each unit was drawn
        held = times @ known
        columns = np.divide(times @ filled, held, out=np.full(held.shape, np.nan), where=held > 0)
        means.append(np.nanmean(columns, axis=1))
        resamples -= count
    return np.concatenate(means)
