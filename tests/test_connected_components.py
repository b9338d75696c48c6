"""Connected components against scipy's, on shapes that a library may fail on."""

import numpy as np
import pytest
from scipy import ndimage

from segfocal.connected_components import components


@pytest.mark.parametrize("shape", [(1, 1, 9), (9, 1, 1), (1, 9, 1), (200, 1, 1), (1, 7), (7, 1)])
@pytest.mark.parametrize("faces_only", [False, True])
def test_every_other_voxel_of_a_line_is_a_piece(shape, faces_only):
    line = np.zeros(shape, dtype=bool)
    line.flat[::2] = True
    numbers, sizes = components(line, faces_only=faces_only)
    assert sizes.tolist() == [1] * int(line.sum())
    assert sorted(numbers[line]) == list(range(1, int(line.sum()) + 1))
    assert not numbers[~line].any()


@pytest.mark.parametrize("faces_only", [False, True])
@pytest.mark.parametrize("axes", [2, 3])
def test_pieces_are_those_of_scipy(axes, faces_only):
    rng = np.random.default_rng(axes)
    structure = ndimage.generate_binary_structure(axes, 1 if faces_only else axes)
    for _ in range(100):
        mask = rng.random(rng.integers(1, 9, axes)) < rng.choice([0.1, 0.4, 0.7])
        numbers, sizes = components(mask, faces_only=faces_only)
        expected, count = ndimage.label(mask, structure=structure)
        pairs = np.unique(np.c_[numbers.ravel(), expected.ravel()], axis=0)
        assert len(pairs) == len(np.unique(numbers)) == len(np.unique(expected))  # one to one
        assert len(sizes) == count
        assert sizes.tolist() == [int((numbers == n).sum()) for n in range(1, count + 1)]


def test_different_values_never_connect():
    labels = np.array([[[1, 1, 2, 2, 0, 2]]], dtype=np.uint8)
    assert sorted(components(labels).sizes.tolist()) == [1, 2, 2]
