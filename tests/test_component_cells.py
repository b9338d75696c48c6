"""Component cells: each voxel goes to the component nearest in mm, by a search through all pairs."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from segfocal.component_cells import component_cells, nearest_component


def boxes(shape, count, seed, *, largest=3):
    """Return a mask of small boxes."""
    rng, mask = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    for _ in range(count):
        start = [rng.integers(side) for side in shape]
        mask[tuple(slice(a, a + rng.integers(1, largest + 1)) for a in start)] = 1
    return mask


def numbers_of(mask, cells):
    """Return the numbers of the components, which are their cells inside the mask, checked against scipy's."""
    numbers = np.where(mask > 0, cells, 0).astype(np.int64)
    expected, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    assert count == cells.max() == len(np.unique(numbers * 10**6 + expected)) - (not mask.all())
    return numbers


def assert_nearest(found, numbers, spacing_mm):
    """Assert that no voxel has a component nearer than its own, but for rounding."""
    places = np.argwhere(np.ones(numbers.shape)) * spacing_mm
    distances = np.stack([cdist(places, np.argwhere(numbers == n) * spacing_mm).min(1) for n in np.unique(found)])
    own = np.searchsorted(np.unique(found), found.ravel())
    assert (distances[own, np.arange(len(places))] <= distances.min(0) * (1 + 1e-12)).all()


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "count"),
    [((9, 14, 11), (3.0, 0.8, 1.1), 5), ((23, 31), (0.7, 1.3), 6), ((1, 17, 19), (5, 1, 1), 6)],
)
def test_every_voxel_has_the_nearest_component(shape, spacing_mm, count):
    for seed in range(3):
        mask = boxes(shape, count, seed)
        found = component_cells(mask, spacing_mm)
        assert found.max() > 1
        numbers = numbers_of(mask, found)
        assert set(np.unique(found)) == set(range(1, found.max() + 1))
        assert_nearest(found, numbers, spacing_mm)


def test_components_keep_the_numbers_that_they_come_with():
    numbers = np.zeros((9, 12), np.uint16)
    numbers[2, 2], numbers[2:7, 9], numbers[8, 0] = 700, 3, 700
    cells = nearest_component(numbers, (1.0, 2.0))
    assert cells.dtype == np.uint16
    assert set(np.unique(cells)) == {3, 700}
    assert_nearest(cells, numbers, (1.0, 2.0))
    assert (nearest_component(np.where(numbers == 3, 0, numbers), (1.0, 2.0)) == 700).all()


def test_no_component_has_no_cell_and_a_single_one_all_of_them():
    nothing = component_cells(np.zeros((3, 4, 5)), (1, 1, 1))
    assert not nothing.any()
    one = np.zeros((3, 4, 5), bool)
    one[1, 1, 1] = one[2, 2, 2] = True  # they share a corner
    assert (component_cells(one, (1, 1, 1)) == 1).all()


def test_other_arrays_are_refused():
    for mask, spacing_mm in ((np.zeros(3), (1,)), (np.zeros((3, 3)), (1, 1, 1))):
        with pytest.raises(ValueError, match="expected a mask of 2 or 3 axes with a spacing each"):
            component_cells(mask, spacing_mm)
