"""Checks of a label beside its image: each way in which their grids differ has a check of its own."""

from dataclasses import replace

import numpy as np

from segfocal.doctor.label_checks import grid_findings
from segfocal.grid import Grid
from tests.broken_data import AFFINE


def test_each_way_in_which_grids_differ_is_named_by_itself():
    image = Grid(shape=(20, 18, 9), affine=AFFINE)
    middle = AFFINE @ [9.5, 8.5, 4.0, 1.0]

    def centred(linear):
        """Return an affine of another linear part about the same middle."""
        affine = np.eye(4)
        affine[:3, :3] = linear
        affine[:3, 3] = middle[:3] - linear @ [9.5, 8.5, 4.0]
        return affine

    turn = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
    moved = AFFINE.copy()
    moved[0, 3] += 5.0

    def checks(label):
        return [check for check, _ in grid_findings(image, label)]

    assert checks(image) == []
    assert checks(Grid(shape=image.shape, affine=centred(AFFINE[:3, :3] @ np.diag([1.2, 1, 1])))) == ["grid_spacing"]
    assert checks(Grid(shape=image.shape, affine=centred(turn @ AFFINE[:3, :3]))) == ["grid_direction"]
    assert checks(Grid(shape=image.shape, affine=moved)) == ["grid_origin"]
    assert checks(replace(image, shape=(20, 18, 10)))[0] == "grid_shape"
    moved[0, 3] += 5000.0
    assert checks(Grid(shape=image.shape, affine=moved)) == ["apart"]
