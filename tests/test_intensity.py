"""Intensity maps: their values, their configs, and what they do with scans that have nothing to show."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segfocal.intensity import KINDS, Percentiles, Window, air_of, build, describe

law = settings(deadline=None, max_examples=60)  # no deadline: a busy machine is no counterexample


def test_window_values_by_hand():
    values = Window(lower=-100.0, upper=300.0)(np.array([-2000, -100, 0, 100, 300, 3000], dtype=np.int16))
    np.testing.assert_array_equal(values, np.array([0, 0, 0.25, 0.5, 1, 1], dtype=np.float32))
    assert values.dtype == np.float32


def test_window_leaves_its_input_as_it_was():
    array = np.array([-50.0, 50.0], dtype=np.float32)
    Window(lower=0.0, upper=1.0)(array)
    np.testing.assert_array_equal(array, [-50.0, 50.0])


def test_percentiles_are_numpys_of_the_voxels_above_the_minimum():
    scan = np.random.default_rng(0).gamma(2.0, 100.0, (9, 8, 7)).astype(np.float32)
    scan[:4] = 0.0  # air
    low, high = np.percentile(scan[scan > 0], [5.0, 95.0])
    expected = np.clip((scan - low) / (high - low), 0, 1)
    np.testing.assert_allclose(Percentiles(low=5.0, high=95.0)(scan), expected, atol=1e-6)  # float32 of [0,1]


def test_more_air_around_the_body_changes_nothing():
    body = np.random.default_rng(0).uniform(10.0, 500.0, (6, 5, 4)).astype(np.float32)
    padded = np.pad(body, [(3, 3), (0, 9), (2, 0)])
    mapped = Percentiles()(padded)[3:-3, :-9, 2:]
    little = np.pad(body, [(1, 0), (0, 0), (0, 0)])
    np.testing.assert_array_equal(mapped, Percentiles()(little)[1:])


@law
@given(st.floats(0.001, 1000.0), st.floats(-1000.0, 1000.0))
def test_percentiles_do_not_depend_on_the_unit(scale, offset):
    scan = np.arange(60, dtype=np.float64).reshape(5, 4, 3)
    moved = Percentiles(low=10.0, high=90.0)(scan * scale + offset)
    # float32 keeps 7 digits of up to 1000, of which a span of 0.05 may be taken: 1000·6e-8/0.05.
    np.testing.assert_allclose(moved, Percentiles(low=10.0, high=90.0)(scan), atol=2e-3)


@pytest.mark.parametrize("kind", [Window(lower=-160.0, upper=240.0), Percentiles()])
@law
@given(array=arrays(np.float32, (3, 2, 2), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_any_finite_scan_maps_into_0_1(kind, array):
    out = kind(array)
    assert out.dtype == np.float32
    assert out.shape == array.shape
    assert out.min() >= 0.0
    assert out.max() <= 1.0  # NaN fails both


@pytest.mark.parametrize("value", [0.0, -1024.0, 7.5, 1e12])
@pytest.mark.parametrize("kind", [Window(lower=0.0, upper=1.0), Percentiles()])
def test_a_constant_scan_is_finite(kind, value):
    assert np.isfinite(kind(np.full((3, 4, 5), value, dtype=np.float32))).all()


@pytest.mark.parametrize("value", [1.0, 1e6, 1e12])
def test_a_body_of_one_value_is_finite(value):
    scan = np.zeros((3, 4, 5), dtype=np.float32)
    scan[1] = value
    assert np.isfinite(Percentiles()(scan)).all()


@pytest.mark.parametrize(
    "intensity",
    [Window(lower=-160.0, upper=240.0), Window(lower=0, upper=1), Percentiles(), Percentiles(low=1, high=90)],
)
def test_a_described_intensity_is_built_again(intensity):
    config = json.loads(json.dumps(describe(intensity)))  # as it travels in a bundle
    assert build(config) == intensity
    assert config["_target_"] in KINDS


def test_build_leaves_its_config_as_it_was():
    config = {"_target_": "segfocal.intensity.Window", "lower": 0.0, "upper": 2.0}
    build(config)
    assert config == {"_target_": "segfocal.intensity.Window", "lower": 0.0, "upper": 2.0}


@pytest.mark.parametrize("config", [{"_target_": "os.system", "command": "true"}, {"lower": 0, "upper": 1}, {}])
def test_an_unknown_target_is_refused(config):
    with pytest.raises(ValueError, match=r"segfocal\.intensity\.Window"):
        build(config)


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match=r"intensity\.lower < intensity\.upper"):
        Window(lower=3.0, upper=3.0)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 50.0), (50.0, 50.0), (0.0, 100.5)])
def test_percentiles_out_of_order_are_refused(low, high):
    with pytest.raises(ValueError, match=r"intensity\.low < intensity\.high"):
        Percentiles(low=low, high=high)


def masked_mr(seed=0):
    """An MR whose background was set to 0, and the percentiles of its body."""
    rng = np.random.default_rng(seed)
    scan = np.zeros((20, 30, 30), np.float32)
    scan[4:16, 6:24, 6:24] = rng.gamma(4.0, 100.0, (12, 18, 18))
    return scan, np.percentile(scan[scan > 0], [0.5, 99.5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("below", [[-1.0], [-1.0] * 9, [-1024.0, -3.0, -0.5], np.linspace(-20, -1, 300)])
def test_a_few_voxels_below_the_air_leave_the_window_where_it_was(dtype, below):
    scan, _ = masked_mr()
    scan = scan.astype(dtype)
    expected = np.percentile(scan[scan > 0], [0.5, 99.5])
    scan.flat[: len(below)] = below
    window = Percentiles().window(lambda: scan)
    assert (window.lower, window.upper) == pytest.approx(expected)
    assert air_of(scan) == 0


def test_air_of_another_value_than_0_is_found_too():
    scan, expected = masked_mr()
    scan -= 1024
    scan[0, 0, :2] = -1025, -3024
    window = Percentiles().window(lambda: scan)
    assert (window.lower, window.upper) == pytest.approx(expected - 1024, rel=1e-5)


@pytest.mark.parametrize("offset", [-50.0, 0.0, 100.0])
def test_a_scan_without_a_constant_background_has_its_minimum_for_air(offset):
    rng = np.random.default_rng(1)
    noise = rng.rayleigh(20.0, (20, 20, 20)).astype(np.float32) + np.float32(offset)
    assert air_of(noise) == noise.min()
    whole = np.rint(noise).astype(np.int16)
    assert air_of(whole) == whole.min()


def test_a_picture_of_saturated_white_keeps_its_greys():
    picture = np.full((1, 40, 40), 255, np.uint8)
    picture[0, 10:30, 10:30] = np.arange(400).reshape(20, 20) % 200
    assert air_of(picture) == 0


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1.0, 1e12])
def test_a_window_does_not_depend_on_the_unit_however_small(unit):
    scan, _ = masked_mr()
    expected, got = Percentiles()(scan), Percentiles()(scan.astype(np.float64) * unit)
    np.testing.assert_allclose(got, expected, atol=1e-5)
