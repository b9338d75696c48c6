"""Percentiles of scans without padding, their unitless shape, and their range over cases: by hand and closed form."""

import numpy as np
import pytest

from segfocal import intensity_statistics
from segfocal.intensity_statistics import PERCENTILES, ChannelStatistics, Range, joined, over_cases, percentiles_of

ROWS = [[0, 1, 2, 4, 6, 7, 8], [-10, -5, 0, 10, 40, 80, 90], [1, 2, 3, 5, 6, 7, 9]]


def ramp(shape=(13, 11, 7)):
    """Return 0, 1, 2, … so that the p-th percentile is p / 100 of the last."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("padding", [-2000, 0, 5000])
def test_percentiles_are_those_of_the_values_without_their_padding(padding):
    padded = np.pad(ramp() + 1, 6, constant_values=padding)
    assert percentiles_of(padded) == pytest.approx([1 + p / 100 * 1000 for p in PERCENTILES])


def test_values_that_are_not_finite_do_not_count():
    array = np.pad(ramp() + 1, 6)
    array[0], array[-1] = np.nan, np.inf
    assert percentiles_of(array) == pytest.approx([1 + p / 100 * 1000 for p in PERCENTILES])


def test_a_sample_of_some_voxels_has_the_percentiles_of_all():
    array = np.random.default_rng(0).permutation(ramp((90, 80, 70)).ravel()).reshape(90, 80, 70)
    np.testing.assert_allclose(
        percentiles_of(array, most=20_000), np.percentile(array, PERCENTILES), atol=0.02 * array.max()
    )
    assert len(intensity_statistics.sample(array, most=20_000).values) < 25_000


def test_the_share_kept_is_that_of_the_voxels_that_are_not_padding():
    assert intensity_statistics.sample(np.pad(ramp((10, 10, 10)) + 1, 5)).share == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 5, 6)), np.full((4, 5, 6), np.nan), np.geomspace(1, 1e40, 120)[:, None, None]]
)
def test_a_channel_that_says_nothing_has_none(array):
    assert percentiles_of(array) is None


def test_a_shape_says_where_the_quartiles_and_zero_lie():
    assert intensity_statistics.shape_of(ROWS[1]) == (0.1, 0.2, 0.5, 0.1)


@pytest.mark.parametrize("factor", [1e-6, 0.1, 4096.0])
def test_a_shape_has_no_unit(factor):
    assert intensity_statistics.shape_of([factor * value for value in ROWS[1]]) == (0.1, 0.2, 0.5, 0.1)


def test_a_shape_is_finite_however_little_values_differ():
    assert intensity_statistics.shape_of([1e38] * 6 + [1.0000001e38])[3] == -100


def test_a_range_over_cases_is_that_of_each_number_by_hand():
    (channel,) = over_cases([[row] for row in ROWS])
    assert channel.percentiles.least == (-10, -5, 0, 4, 6, 7, 8)
    assert channel.percentiles.median == (0, 1, 2, 5, 6, 7, 9)
    assert channel.percentiles.most == (1, 2, 3, 10, 40, 80, 90)
    assert channel.shape.least == (0.1, 0.2, 0.5, -0.125)
    assert channel.shape.median == (0.25, 0.5, 0.625, 0.0)
    assert channel.shape.most == (0.25, 0.5, 0.75, 0.1)


def test_cases_of_which_one_is_not_known_have_no_range_and_one_of_one_value_is_passed_over():
    assert over_cases([]) is None
    assert over_cases([[ROWS[0]], None]) is None
    assert over_cases([[ROWS[0], None], [None, None]]) == (over_cases([[ROWS[0]]])[0], None)


def test_the_range_of_members_joined_is_that_over_all_their_cases():
    parts = [over_cases([[row] for row in ROWS[:2]]), over_cases([[row] for row in ROWS[1:]])]
    (together,), (every,) = joined(parts), over_cases([[row] for row in ROWS])
    for name in ("percentiles", "shape"):
        own, whole = getattr(together, name), getattr(every, name)
        assert (own.least, own.most) == (whole.least, whole.most)
        assert all(low <= middle <= high for low, middle, high in zip(own.least, own.median, own.most, strict=True))
    assert joined([*parts, None]) is None
    assert joined([(None,), parts[0]]) == parts[0]
    assert joined([(None,), (None,)]) == (None,)


def test_what_is_described_is_built_again():
    statistics = (*over_cases([[row] for row in ROWS]), None)
    described = intensity_statistics.describe(statistics)
    assert intensity_statistics.build(described) == statistics
    lists = [{name: {key: list(row) for key, row in part.items()} for name, part in described[0].items()}, None]
    assert intensity_statistics.build(lists) == statistics  # as JSON gives them back
    assert isinstance(statistics[0], ChannelStatistics)
    assert isinstance(statistics[0].shape, Range)
