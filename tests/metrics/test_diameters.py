"""Axial diameters: closed forms, every pair of corners, and the longest chord by a linear program."""

import itertools

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import linprog

from segfocal.grid import Grid
from segfocal.metrics import axial_diameters, slice_diameters
from tests.scans import affine_of


def pixels(*places, shape=(9, 8)):
    mask = np.zeros((1, *shape), bool)
    for place in places:
        mask[(0, *place)] = True
    return mask


def corners_of(mask, steps):
    """Return the four corners of every pixel, in mm."""
    return np.array([(i + a, j + b) for i, j in np.argwhere(mask) for a in (0, 1) for b in (0, 1)]) @ steps.T


def longest_chord(points, along):
    """Return the longest chord at right angles to a direction between two mixtures of points, by a linear program."""
    places, heights = points @ along, points @ np.array([-along[1], along[0]])
    n, ones, none = len(points), np.ones(len(points)), np.zeros(len(points))
    equal = np.array([np.r_[ones, none], np.r_[none, ones], np.r_[places, -places]])
    found = linprog(np.r_[-heights, heights], A_eq=equal, b_eq=[1, 1, 0], bounds=[(0, None)] * (2 * n))
    return -found.fun


@pytest.mark.parametrize("steps", [(1.0, 1.0), (0.7, 0.7), (0.5, 2.0), (3.0, 1.0)])
def test_one_pixel_has_its_diagonal_and_the_longest_chord_across_it(steps):
    longest, short = slice_diameters(pixels((2, 3)), np.diag(steps))
    assert longest == pytest.approx(np.hypot(*steps))
    assert short == pytest.approx(min(steps) / max(steps) * np.hypot(*steps))


@pytest.mark.parametrize(("h", "w"), [(5, 1), (4, 4), (3, 7), (1, 8)])
def test_a_rectangle_has_its_diagonal(h, w):
    mask = np.zeros((3, 9, 9), bool)
    mask[1, 1 : 1 + h, 1 : 1 + w] = True
    longest, short = slice_diameters(mask, np.diag([0.5, 2.0]))
    height, width = 0.5 * h, 2.0 * w
    assert longest == pytest.approx(np.hypot(height, width))
    assert short == pytest.approx(min(height, width) / max(height, width) * np.hypot(height, width))


@pytest.mark.parametrize("radius", [8.0, 20.5, 41.0])
def test_a_disc_has_the_diameter_of_its_corners(radius):
    y, x = np.mgrid[-50:51, -50:51] * 0.5
    disc = np.hypot(y, x) <= radius * 0.5
    longest, short = slice_diameters(disc[None], np.diag([0.5, 0.5]))
    corners = corners_of(disc, np.diag([0.5, 0.5]))
    assert longest == pytest.approx(2 * np.linalg.norm(corners - corners.mean(0), axis=1).max())
    assert radius < longest <= radius + 0.5 * np.sqrt(2) + 1e-9  # up to half a diagonal at either end
    assert longest - 1 <= short <= longest  # two pixels


@pytest.mark.parametrize("seed", range(12))
def test_diameters_are_those_of_every_pair_of_corners(seed):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(4, 9, 11)), (0, 1.2, 1.2))
    mask = field > np.quantile(field, 0.8)
    steps = rng.normal(size=(2, 2)) + np.diag([2.0, 1.0])  # oblique
    best = (0.0, 0.0)
    for each in mask:
        corners = np.unique(corners_of(each, steps).round(12), axis=0)
        apart = np.linalg.norm(corners[:, None] - corners[None], axis=-1) if len(corners) else np.zeros((1, 1))
        longest = apart.max()
        if longest > 0:
            pairs = [corners[j] - corners[i] for i, j in np.argwhere(np.triu(apart >= longest * (1 - 1e-9)))]
            chord = max(longest_chord(corners, pair / np.linalg.norm(pair)) for pair in pairs)
            best = max(best, (longest, chord))
    assert slice_diameters(mask, steps) == pytest.approx(best, rel=1e-6)  # a linear program's tolerance


def test_gaps_are_measured_across_and_the_largest_slice_counts():
    mask = np.zeros((3, 12, 3), bool)
    mask[0, 0:3, 1] = mask[1, 0, 1] = mask[1, 11, 1] = mask[2, 4, 1] = True
    longest, short = slice_diameters(mask, np.eye(2))
    assert longest == pytest.approx(np.hypot(12, 1))
    assert short == pytest.approx(np.hypot(12, 1) / 12)


def test_of_equally_long_diameters_the_one_with_the_longer_short_one_is_taken():
    line, block = pixels((0, 1), (1, 1), (2, 1), (3, 1)), pixels((0, 1), (3, 1), *itertools.product((1, 2), (0, 1, 2)))
    (length, narrow), (same, wide) = (slice_diameters(each, np.eye(2)) for each in (line, block))
    assert length == pytest.approx(same)
    assert narrow < wide
    for order in ((line, block), (block, line)):
        assert slice_diameters(np.concatenate(order), np.eye(2)) == pytest.approx((length, wide))


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SAL", "ILP"])
def test_slices_are_those_of_the_body_however_a_scan_is_stored(axes):
    stored = Grid(shape=(9, 8, 7), affine=affine_of(spacing_mm=(0.8, 1.1, 2.7), degrees=(9.0, -7.0, 12.0)))
    lesion = np.zeros(stored.shape, bool)
    lesion[2:7, 3:5, 1:6] = True  # 4 × 2.2 mm in plane, 13.5 mm along the body
    turn = stored.orientation_to(axes)
    found = axial_diameters(turn.apply(lesion), stored.oriented(turn))
    assert found == pytest.approx((np.hypot(4.0, 2.2), 2.2 / 4.0 * np.hypot(4.0, 2.2)))


def test_a_sheared_scan_is_measured_in_the_body():
    affine = np.array([[1.0, 0.5, 0, 0], [0, 1, 0, 0], [0, 0.2, 3, 0], [0, 0, 0, 1]])
    lesion = np.zeros((4, 4, 2), bool)
    lesion[1, 1, 1] = True
    longest, _ = axial_diameters(lesion, Grid(shape=lesion.shape, affine=affine))
    assert longest == pytest.approx(np.linalg.norm([1.5, 1.0, 0.2]))


def test_an_empty_mask_has_no_diameter():
    with pytest.raises(ValueError, match="empty"):
        slice_diameters(np.zeros((2, 3, 3), bool), np.eye(2))
