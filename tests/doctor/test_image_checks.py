"""Checks of an image: scales of intensities are told apart, twins are found by their voxels."""

import numpy as np
import pytest

from segfocal.doctor.image_checks import fingerprint, intensities


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
def test_a_hash_is_that_of_the_values(dtype):
    array = np.random.default_rng(0).integers(-1000, 1000, (5, 4, 33)).astype(np.int16)
    assert fingerprint(array.astype(dtype)) == fingerprint(array)
    assert fingerprint(array.astype(dtype, order="F")) == fingerprint(array)
    assert fingerprint(array + 1) != fingerprint(array)
    assert fingerprint(array.reshape(4, 5, 33)) != fingerprint(array)


def test_scales_are_told_apart():
    rng = np.random.default_rng(0)
    hounsfield = np.where(rng.random((20, 20, 20)) < 0.5, -1000, rng.normal(40, 30, (20, 20, 20))).round()
    hounsfield.flat[0] = 1500
    assert not intensities(hounsfield).air_at_zero
    assert not intensities(hounsfield).normalised
    assert intensities(hounsfield + 1000).air_at_zero
    assert intensities((hounsfield + 1000) / 2500).normalised
    assert intensities((hounsfield - hounsfield.mean()) / hounsfield.std()).normalised
    eight_bit = rng.integers(0, 256, (9, 9, 9))
    assert not intensities(eight_bit).normalised
    assert not intensities(eight_bit).air_at_zero
