"""CC-Dice: that of CC-Metrics where voxels are cubes, and in mm by the distance to every voxel of each component."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from segfocal.metrics import ComponentOverlaps, cc_dice_of, component_dice

CUBES = (1.0, 1.0, 1.0)


def found(prediction, reference, steps_mm=CUBES):
    return component_dice(ComponentOverlaps.between(prediction, reference), steps_mm)


def published(prediction, reference, spacing=None):
    """Return the Dice of each component as CC-Metrics has it: the whole space divided by one transform a component.

    Written from the text of the paper; the first of equally near components owns a voxel.
    """
    numbers, count = ndimage.label(reference, np.ones((3,) * reference.ndim))
    cells, nearest = np.zeros(reference.shape, int), np.full(reference.shape, np.inf)
    for number in range(1, count + 1):
        distance = ndimage.distance_transform_edt(numbers != number, sampling=spacing)
        closer = distance < nearest
        cells[closer], nearest[closer] = number, distance[closer]
    dice = []
    for number in range(1, count + 1):
        one, other = prediction & (cells == number), reference & (cells == number)
        dice.append(2 * (one & other).sum() / (one.sum() + other.sum()))
    return np.array(dice)


def blobs(seed, shape):
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, *(1.0,) * len(shape)))
    one, other = fields[0], 0.7 * fields[0] + 0.3 * fields[1]
    return one > np.quantile(one, 0.9), other > np.quantile(other, 0.92)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("shape", [(17, 14, 11), (31, 26), (9, 23, 2)])
def test_of_cubes_it_is_cc_metrics_exactly(seed, shape):
    prediction, reference = blobs(seed, shape)
    assert found(prediction, reference, (1.0,) * len(shape)).tolist() == published(prediction, reference).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_of_scattered_voxels_with_many_ties_it_is_cc_metrics_exactly(seed):
    prediction, reference = np.random.default_rng(seed).random((2, 12, 11, 10)) < [[[[0.2]]], [[[0.01]]]]
    assert found(prediction, reference).tolist() == published(prediction, reference).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_in_mm_a_voxel_belongs_to_the_component_whose_voxels_are_nearest(seed):
    rng = np.random.default_rng(seed)
    prediction, reference = blobs(seed, (13, 12, 9))
    spacing = rng.uniform(0.4, 5.0, 3)
    numbers, count = ndimage.label(reference, np.ones((3, 3, 3)))
    places = np.argwhere(prediction & ~reference) * spacing
    apart = np.array([cdist(places, np.argwhere(numbers == n) * spacing).min(1) for n in range(1, count + 1)])
    beside = np.bincount(apart.round(9).argmin(0), minlength=count)  # of equally near ones the first
    right = np.array([(prediction & (numbers == n)).sum() for n in range(1, count + 1)])
    sizes = np.array([(numbers == n).sum() for n in range(1, count + 1)])
    assert found(prediction, reference, tuple(spacing)) == pytest.approx(2 * right / (right + beside + sizes))
    oblique = np.linalg.qr(rng.normal(size=(3, 3)))[0] * spacing  # the same lengths at right angles, turned
    assert found(prediction, reference, oblique) == pytest.approx(found(prediction, reference, tuple(spacing)))


def test_mm_decide_and_not_voxels():
    reference, prediction = np.zeros((2, 9, 1, 4), bool)
    reference[0, 0, 0] = reference[8, 0, 0] = True
    reference[4, 0, 3] = True
    prediction[4, 0, 0] = True  # 4 voxels from the ends, 3 from the last one
    reference_order = found(prediction, reference).tolist()
    assert reference_order == [0, 0, 0]
    prediction |= reference
    assert found(prediction, reference).tolist() == [1, pytest.approx(2 / 3), 1]  # in the order of the array
    assert found(prediction, reference, (1.0, 1.0, 3.0)).tolist() == [pytest.approx(2 / 3), 1, 1]  # a tie: the first


def test_a_small_lesion_counts_like_a_large_one():
    reference, prediction = np.zeros((2, 30, 10, 10), bool)
    reference[:10], reference[25, 5, 5] = True, True
    prediction[:10] = True
    assert cc_dice_of(ComponentOverlaps.between(prediction, reference), CUBES) == 0.5  # Dice is 0.9995


def test_what_is_predicted_far_off_costs_the_nearest_lesion():
    reference, prediction = np.zeros((2, 30, 3, 3), bool)
    reference[2, 1, 1] = reference[20, 1, 1] = prediction[2, 1, 1] = prediction[20, 1, 1] = prediction[29, 1, 1] = True
    assert found(prediction, reference).tolist() == [1, pytest.approx(2 / 3)]


def test_many_wrong_voxels_are_divided_by_a_transform():
    """Steps whose squares have no common measure, and odd distances, leave no voxel equally near to two."""
    reference, prediction = np.zeros((120, 90, 60), bool), np.ones((120, 90, 60), bool)
    for place in ((10, 11, 12), (83, 60, 31), (36, 85, 51)):
        reference[place] = True
    steps = (1.0, 2**0.25, 3**0.25)
    assert found(prediction, reference, steps) == pytest.approx(published(prediction, reference, steps), rel=1e-12)


def test_one_component_is_dice_and_none_follows_the_rule_of_overlap():
    prediction, reference = np.zeros((2, 6, 5, 4), bool)
    reference[1:4, 1:4, 1:3], prediction[2:5, 1:4, 1:3] = True, True
    assert cc_dice_of(ComponentOverlaps.between(prediction, reference), CUBES) == pytest.approx(2 / 3)
    empty = np.zeros_like(reference)
    for pair, expected in (((empty, empty), 1), ((reference, empty), 0), ((empty, reference), 0)):
        assert cc_dice_of(ComponentOverlaps.between(*pair), CUBES) == expected


def test_steps_fit_the_axes():
    mask = np.ones((3, 3), bool)
    with pytest.raises(ValueError, match="a step for each of 2 axes"):
        found(mask, mask, CUBES)
