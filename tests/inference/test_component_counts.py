"""Components counted slab by slab are those of the whole map."""

import cc3d
import numpy as np
import pytest

from segfocal.inference.component_counts import count_components
from segfocal.io.scratch import scratch_array


def counted_whole(labels):
    """Count the components of each value by itself, the whole map at once."""
    values = [value for value in np.unique(labels).tolist() if value]
    return {v: int(cc3d.connected_components((labels == v).view(np.uint8), connectivity=26).max()) for v in values}


@pytest.mark.parametrize("slices", [1, 2, 3, 16])
@pytest.mark.parametrize("shape", [(13, 11, 17), (6, 5, 1), (1, 9, 4), (8, 7, 33)])
def test_count_is_that_of_the_whole_map(shape, slices):
    for seed, share in enumerate((0.02, 0.1, 0.3, 0.7)):
        rng = np.random.default_rng(seed)
        labels = np.where(rng.random(shape) < share, rng.integers(1, 4, shape), 0).astype(np.uint8)
        assert count_components(labels, slices=slices) == counted_whole(labels)


def test_a_loop_through_many_slabs_is_one_component():
    labels = np.zeros((3, 5, 40), dtype=np.uint16)
    labels[1, 0, :], labels[1, 4, :], labels[1, :, 39] = 300, 300, 300
    assert count_components(labels) == {300: 1}
    labels[1, :, 39] = 0
    assert count_components(labels) == {300: 2}
    assert count_components(np.zeros((3, 3, 3), dtype=np.uint8)) == {}


def test_of_overlapping_structures_each_is_counted_by_itself():
    labels = np.zeros((9, 9, 40), dtype=np.uint16)
    labels[1:3, 1:3, 2:30] |= 1
    labels[2:8, 2, ::9] |= 2
    assert count_components(labels, inside=lambda part: (part & 1) != 0) == {1: 1}
    assert count_components(labels, inside=lambda part: (part & 2) != 0) == {1: 5}


def test_what_moves_away_and_comes_back_between_slabs_is_counted_once():
    labels = np.zeros((30, 20, 9), dtype=np.uint8)
    for z, x in enumerate((2, 3, 4, 5, 6, 5, 4, 3, 2)):
        labels[x, 1, z] = 1
        labels[29 - x, 18 if z < 4 or z > 5 else 1, z] = 2  # in two pieces and a third one elsewhere
    for slices in (1, 2, 3, 16):
        assert count_components(labels, slices=slices) == {1: 1, 2: 3}


def test_a_map_on_disk_is_counted(tmp_path):
    with scratch_array(tmp_path, (9, 8, 50), np.uint8) as labels:
        labels[2:4, 2:4, 5:45], labels[7, 7, ::10] = 1, 2
        assert count_components(labels) == {1: 1, 2: 5}
