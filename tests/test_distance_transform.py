"""The distance transform against scipy's, and its border rule."""

import numpy as np
import pytest
from scipy import ndimage

from segfocal.distance_transform import edt


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 5.0)])
def test_distances_in_mm_are_those_of_scipy(spacing):
    inside = np.random.default_rng(0).random((9, 12, 5)) < 0.9
    expected = ndimage.distance_transform_edt(inside, sampling=spacing)
    np.testing.assert_allclose(edt(inside, spacing=spacing), expected, rtol=1e-6)  # float32
    np.testing.assert_allclose(edt(inside, spacing=spacing, squared=True), expected**2, rtol=1e-6)


def test_beyond_the_array_is_outside_only_where_that_is_asked_for():
    full = np.ones((1, 5), dtype=bool)
    assert edt(full, bordered=True).tolist() == [[1, 1, 1, 1, 1]]
    assert np.isinf(edt(full)).all()
    full[0, 0] = False
    assert edt(full).tolist() == [[0, 1, 2, 3, 4]]
