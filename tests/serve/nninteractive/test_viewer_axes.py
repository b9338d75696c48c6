"""Arrays without an orientation: which axis is that of the slices, and where a voxel comes to lie."""

import numpy as np
import pytest

from segfocal.serve.nninteractive.viewer_axes import affine_of, as_stored, in_world, taken_frame

SHAPE = (12, 40, 50)


@pytest.mark.parametrize(
    ("spacing", "frame", "taken"),
    [
        ([5.0, 0.7, 0.7], "SPL", "SPL"),  # axial slices first, as 3D Slicer sends them
        ([0.7, 0.7, 5.0], "SPL", "LPS"),  # [x,y,z]: slices last
        ([0.7, 5.0, 0.7], "SPL", "PSL"),
        ([1.0, 1.0, 1.0], "SPL", "SPL"),
        ([1.4, 1.0, 1.0], "SPL", "SPL"),
        ([0.7, 0.7, 1.04], "SPL", "SPL"),  # less than 1.5 times: no axis stands out
        ([0.7, 0.7, 1.05], "SPL", "LPS"),
        ([5.0, 0.7, 0.7], "ASL", "ASL"),  # a coronal model: the coarse axis is its slices
        ([0.7, 0.7, 5.0], "ASL", "LSA"),
        ([1.0, 1.0, 1.0], "ASL", "SPL"),  # nothing stands out: axial slices, the model turns them
    ],
)
def test_the_coarse_axis_is_that_of_the_slices(spacing, frame, taken):
    assert taken_frame(SHAPE, spacing, frame) == taken


def test_a_single_slice_is_a_slice():
    assert taken_frame((1, 40, 50), [1.0, 1.0, 1.0], "ASL") == "ASL"
    assert taken_frame((40, 50, 1), [1.0, 1.0, 1.0], "SPL") == "LPS"
    assert taken_frame((1, 1, 50), [1.0, 1.0, 1.0], "SPL") == "SPL"


def test_a_voxel_is_stored_in_reverse_and_lies_where_the_frame_says():
    array = np.arange(24).reshape(2, 3, 4)
    volume = as_stored(array, affine_of([5.0, 3.0, 2.0], "SPL"))
    assert volume.array[3, 2, 1] == array[1, 2, 3]
    assert volume.grid.frame == "LPS"
    assert volume.grid.spacing_mm == (2.0, 3.0, 5.0)
    assert in_world([[1, 2, 3]], volume.grid) == [[-6.0, -6.0, 5.0]]  # to the left, to the back, to the head


def test_channels_come_last():
    volume = as_stored(np.zeros((2, 3, 4, 5)), np.eye(4))
    assert volume.array.shape == (5, 4, 3, 2)
    assert volume.grid.shape == (5, 4, 3)
