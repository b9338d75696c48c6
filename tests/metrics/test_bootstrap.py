"""Bootstrap intervals of means: scipy's, units drawn as wholes, and none for a single unit."""

import numpy as np
import pytest
from scipy import stats

from segfocal.metrics import bootstrap_mean, bootstrap_ratio


@pytest.mark.parametrize("values", [[0.7] * 5, [[0.7, 0.7], [0.7, np.nan], [0.7, 0.7]]])
def test_the_interval_of_equal_values_has_no_width(values):
    assert bootstrap_mean(values, seed=0) == pytest.approx((0.7, 0.7, 0.7))


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_a_mean_is_scipy_s(seed):
    values = np.random.default_rng(seed).beta(5, 2, size=40)
    mean, low, high = bootstrap_mean(values, seed=seed, resamples=20000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(seed + 100)
    ).confidence_interval
    assert mean == pytest.approx(values.mean())
    error = 0.02 * (high - low)  # percentiles of 20000 resamples: a standard error of 0.5 % of the width
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=error)
    assert low < mean < high


def test_columns_are_averaged_after_units_and_units_drawn_as_wholes():
    values = np.array([[0.2, 0.8], [0.8, 0.2], [0.5, 0.5]])  # what one column gains the other loses
    assert bootstrap_mean(values, seed=0) == pytest.approx((0.5, 0.5, 0.5))
    values = np.array([[0.1, np.nan], [0.3, 0.6], [np.nan, np.nan]])
    mean, low, high = bootstrap_mean(values, seed=0)
    assert mean == pytest.approx((0.2 + 0.6) / 2)
    assert (low, high) == pytest.approx((0.1, 0.45))  # the first unit twice has no second column


def test_an_interval_depends_on_its_seed_and_values_alone():
    values = np.random.default_rng(0).random(11)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(list(values), seed=3) != bootstrap_mean(values, seed=4)


def test_one_unit_has_a_mean_but_no_interval():
    mean, low, high = bootstrap_mean([0.4], seed=0)
    assert mean == 0.4
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize(
    ("values", "options"),
    [([], {}), ([[0.1, np.nan]], {}), ([0.1], {"level": 1.0}), ([0.1], {"resamples": 0})],
)
def test_what_has_no_interval_is_refused(values, options):
    with pytest.raises(ValueError, match="expected"):
        bootstrap_mean(values, seed=0, **options)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_a_ratio_is_scipy_s(seed):
    rng = np.random.default_rng(seed)
    wholes = rng.integers(1, 9, 40)
    parts = rng.binomial(wholes, 0.7)
    ratio, low, high = bootstrap_ratio(parts, wholes, seed=seed, resamples=20000)
    theirs = stats.bootstrap(
        (parts, wholes),
        lambda one, other, axis: one.sum(axis) / other.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=20000,
        rng=np.random.default_rng(seed + 100),
    ).confidence_interval
    assert ratio == pytest.approx(parts.sum() / wholes.sum())
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.02 * (high - low))  # as for a mean


def test_a_ratio_draws_whole_units():
    """Of a case with all its 9 lesions found and one with its single lesion missed a resample holds two."""
    ratio, low, high = bootstrap_ratio([9, 0], [9, 1], seed=0)
    assert (ratio, low, high) == pytest.approx((0.9, 0, 1))
    assert bootstrap_ratio([3, 0, 0], [4, 0, 0], seed=0) == pytest.approx((0.75, 0.75, 0.75))  # none where nothing is
    assert np.isnan(bootstrap_ratio([3], [4], seed=0)[1:]).all()


@pytest.mark.parametrize(
    ("parts", "wholes", "options"),
    [
        ([], [], {}),
        ([0, 0], [0, 0], {}),
        ([1, np.nan], [1, 1], {}),
        ([1, 1], [3, -1], {}),
        ([1], [1], {"level": 0.0}),
        ([1], [1], {"resamples": 0}),
    ],
)
def test_a_ratio_that_has_no_interval_is_refused(parts, wholes, options):
    with pytest.raises(ValueError, match="expected"):
        bootstrap_ratio(parts, wholes, seed=0, **options)
