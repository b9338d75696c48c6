"""Component cells: each voxel goes to the component nearest in mm, by a search through all pairs."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from segfocal.component_cells import component_cells


def boxes(shape, count, seed, *, largest=3):
    """Return a mask of small boxes."""
    rng, mask = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    for _ in range(count):
        start = [rng.integers(side) for side in shape]
        mask[tuple(slice(a, a + rng.integers(1, largest + 1)) for a in start)] = 1
    return mask


def numbers_of(mask, found):
    """Return the numbers of the components, which are their cells inside the mask, checked against scipy's."""
    numbers = np.where(mask > 0, found.cells, 0).astype(np.int64)
    expected, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    assert count == len(found.sizes) == len(np.unique(numbers * 10**6 + expected)) - (not mask.all())
    np.testing.assert_array_equal(np.bincount(numbers.ravel())[1:], found.sizes)
    for number, (first, last) in enumerate(found.spans, start=1):
        held = np.flatnonzero((numbers == number).any(tuple(range(1, mask.ndim))))
        assert (held[0], held[-1]) == (first, last)
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
        assert len(found.sizes) > 1
        numbers = numbers_of(mask, found)
        assert set(np.unique(found.cells)) == set(range(1, len(found.sizes) + 1))
        assert_nearest(found.cells, numbers, spacing_mm)


def test_cells_by_slice_are_those_of_each_slice_with_the_numbers_of_the_whole():
    mask = np.zeros((5, 9, 12), np.uint8)
    mask[1:4, 2, 2], mask[2, 2:7, 9] = 1, 1
    mask[3, 2, 2:6] = 1
    mask[3, 2:5, 5] = 1
    mask[4, 4, 5], mask[4, 4, 9] = 1, 0
    found = component_cells(mask, (4.0, 1.0, 2.0), by_slice=True)
    numbers = numbers_of(mask, found)
    assert (found.cells[0] == 0).all()
    assert len(np.unique(found.cells[1])) == len(np.unique(found.cells[4])) == 1
    for z in (1, 2, 3, 4):
        assert_nearest(found.cells[z], numbers[z], (1.0, 2.0))
    assert set(np.unique(found.cells[2])) == {1, 2}


def test_no_component_has_no_cell_and_a_single_one_all_of_them():
    nothing = component_cells(np.zeros((3, 4, 5)), (1, 1, 1))
    assert not nothing.cells.any()
    assert len(nothing.sizes) == 0
    one = np.zeros((3, 4, 5), bool)
    one[1, 1, 1] = one[2, 2, 2] = True  # they share a corner
    found = component_cells(one, (1, 1, 1))
    assert (found.cells == 1).all()
    assert found.sizes.tolist() == [2]


def test_more_components_than_sixteen_bits_hold_keep_their_numbers():
    mask = np.zeros((2, 520, 520), np.uint8)
    mask[0, ::2, ::2] = 1
    found = component_cells(mask, (1, 1, 1), by_slice=True)
    assert found.cells[0].max() == len(found.sizes) == 260 * 260
    assert found.cells.dtype == np.uint32
    assert not found.cells[1].any()
    assert len(np.unique(found.cells[0][mask[0] > 0])) == 260 * 260


def test_other_arrays_are_refused():
    for mask, spacing_mm in ((np.zeros(3), (1,)), (np.zeros((3, 3)), (1, 1, 1))):
        with pytest.raises(ValueError, match="expected a mask of 2 or 3 axes with a spacing each"):
            component_cells(mask, spacing_mm)
