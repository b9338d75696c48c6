"""Checks of a label beside its image: each way in which their grids differ has a check of its own."""

from dataclasses import replace

import numpy as np
import pytest

from segfocal.doctor.checks import Check
from segfocal.doctor.label_checks import grid_findings, integer_labels, label_findings
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


def test_axes_that_run_another_way_and_a_tenth_of_a_voxel_are_notes():
    image = Grid(shape=(20, 18, 9), affine=AFFINE)  # voxels of 3, 3 and 4.5 mm
    turned = image.oriented(image.orientation_to("PIL"))
    moved = turned.affine.copy()
    moved[1, 3] += 0.29
    found = list(grid_findings(image, turned))
    assert found == [(Check.GRID_TURNED, "PIL against RAS of the image")]
    found = list(grid_findings(image, replace(turned, affine=moved)))
    assert [check for check, _ in found] == [Check.GRID_TURNED, Check.GRID_NEAR]
    moved[1, 3] += 0.02
    assert Check.GRID_ORIGIN in [check for check, _ in grid_findings(image, replace(turned, affine=moved))]


@pytest.mark.parametrize(
    ("off", "check"), [(5e-5, Check.ALMOST_WHOLE), (0.0099, Check.ALMOST_WHOLE), (0.011, Check.NOT_WHOLE)]
)
def test_values_within_a_hundredth_of_whole_numbers_are_labels(off, check):
    array = np.array([[[0, 3, 3 - off]]])
    assert list(label_findings(array)) == [(check, f"values such as {3 - off}")]
    labels = integer_labels(array)
    assert labels is None if check is Check.NOT_WHOLE else labels.tolist() == [[[0, 3, 3]]]


def test_a_value_is_shown_in_full():
    array = np.array([[[0, 3.00004577]]], np.float32)
    assert list(label_findings(array)) == [(Check.ALMOST_WHOLE, "values such as 3.0000458")]
