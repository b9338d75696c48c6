"""How far a mean or a ratio might have come out otherwise: bootstrap intervals by the percentile method.

Units are drawn with replacement, as many as there are, again and again; the interval lies between two percentiles of
the means, or ratios, of these resamples.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_AT_A_TIME = 4_000_000  # draws held in memory


class Interval(NamedTuple):
    """A mean, or a ratio of sums, and the interval around it; low and high are NaN where there is none."""

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
    means = _resampled(filled, known, seed, resamples)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return Interval(mean, float(low), float(high))


def bootstrap_ratio(
    parts: ArrayLike, wholes: ArrayLike, *, seed: int, level: float = 0.95, resamples: int = 2000
) -> Interval:
    """Return Σ parts / Σ wholes and its percentile interval, as the share of lesions found in all cases together.

    Whole units are drawn, so that lesions of one case, which are found or missed together, are not taken for
    independent. Resamples whose wholes are all 0 are left out; a single unit has no interval.

    Args:
        parts: [n] of n units, such as the lesions found in each case.
        wholes: [n] ≥ 0, such as all of its lesions.
        seed: of the resamples; the same values and seed give the same interval.
        level: of the interval, in (0,1).
        resamples: how many are drawn, ≥ 1.

    Raises:
        ValueError: values that are not finite or not of one length, wholes of which none is above 0, a level outside
            (0,1), resamples < 1.
    """
    values = np.stack([np.asarray(parts, np.float64), np.asarray(wholes, np.float64)], axis=-1)
    if values.ndim != 2 or not np.isfinite(values).all() or (values[:, 1] < 0).any() or not values[:, 1].sum() > 0:
        raise ValueError(f"expected finite parts and wholes ≥ 0 of which one is above 0; got {values.tolist()[:8]}")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"expected a level in (0,1) and resamples ≥ 1; got {level} and {resamples}")
    whole = values.sum(0)
    ratio = float(whole[0] / whole[1])
    if len(values) < 2:
        return Interval(ratio, math.nan, math.nan)
    ratios = []
    for times in _draws(len(values), seed, resamples):
        sums = times @ values
        kept = sums[:, 1] > 0
        ratios.append(sums[kept, 0] / sums[kept, 1])
    drawn = np.concatenate(ratios)
    if not len(drawn):
        return Interval(ratio, math.nan, math.nan)
    low, high = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    return Interval(ratio, float(low), float(high))


def _resampled(filled: NDArray, known: NDArray, seed: int, resamples: int) -> NDArray[np.float64]:
    """Return the mean of each resample."""
    means = []
    for times in _draws(len(filled), seed, resamples):
        held = times @ known
        columns = np.divide(times @ filled, held, out=np.full(held.shape, np.nan), where=held > 0)
        means.append(np.nanmean(columns, axis=1))
    return np.concatenate(means)


def _draws(n: int, seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each of n units is drawn in each resample, [some,n] at a time."""
    if n * resamples <= _AT_A_TIME:
        yield _drawn_once(n, seed, resamples)
        return
    rng = np.random.default_rng(seed)
    while resamples:
        count = min(resamples, max(1, _AT_A_TIME // n))
        yield _drawn(n, rng, count)
        resamples -= count


@lru_cache(maxsize=1)
def _drawn_once(n: int, seed: int, resamples: int) -> NDArray[np.float64]:
    """Return the draws of all resamples; many metrics of the same cases ask for them one after the other."""
    return _drawn(n, np.random.default_rng(seed), resamples)


def _drawn(n: int, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=count).astype(np.float64)
    drawn.setflags(write=False)
    return drawn
