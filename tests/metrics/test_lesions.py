"""Lesions: 26 neighbours, what counts as found, and two empty masks."""

import numpy as np
import pytest
from scipy import ndimage

from segfocal.metrics import Detections, count_lesions


def masks(shape=(12, 12, 12)):
    return np.zeros(shape, bool), np.zeros(shape, bool)


def kinds(counts):
    return counts.tp, counts.fp, counts.fn


def test_found_missed_and_in_vain_are_counted():
    prediction, reference = masks()
    reference[1:4, 1:4, 1:4] = reference[8:10, 8:10, 8:10] = reference[1:3, 8:10, 1:3] = True
    prediction[3:5, 3:5, 3:5] = prediction[8:10, 8:10, 8:10] = prediction[9, 1, 1] = True
    counts = count_lesions(prediction, reference)
    assert kinds(counts) == (2, 1, 1)
    assert (counts.precision, counts.recall, counts.f1) == pytest.approx((2 / 3, 2 / 3, 4 / 6))


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    prediction, reference = masks()
    reference[1, 1, 1] = reference[2, 2, 2] = prediction[1, 1, 1] = True
    assert kinds(count_lesions(prediction, reference)) == (1, 0, 0)
    reference[2, 2, 2], reference[2, 2, 3] = False, True
    assert kinds(count_lesions(prediction, reference)) == (1, 0, 1)


def test_joining_and_splitting_cost_nothing():
    prediction, reference = masks()
    reference[1:3, 1:3, 1:3] = reference[6:8, 1:3, 1:3] = True
    prediction[1:8, 1:3, 1:3] = True
    assert kinds(count_lesions(prediction, reference)) == (2, 0, 0)
    assert kinds(count_lesions(reference, prediction)) == (1, 0, 0)


def test_masks_one_voxel_wide_have_their_components():
    ends = np.array([1, 0, 1], bool).reshape(3, 1, 1)
    assert kinds(count_lesions(ends, ends)) == (2, 0, 0)


def test_an_overlap_must_be_exceeded():
    prediction, reference = masks()
    reference[1:5, 1, 1], prediction[3:7, 1, 1] = True, True  # half of each
    for overlap, expected in ((0.0, (1, 0, 0)), (0.49, (1, 0, 0)), (0.5, (0, 1, 1)), (0.9, (0, 1, 1))):
        assert kinds(count_lesions(prediction, reference, overlap=overlap)) == expected


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(14, 9, 11), (20, 17), (9, 1, 1), (3, 1), (1, 1, 1)])
def test_counts_are_those_of_scipy_s_components(seed, shape):
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, *shape)) < (0.06 if min(shape) > 1 else 0.5)
    structure = np.ones((3,) * len(shape))
    (true, n), (found, m) = (ndimage.label(mask, structure) for mask in (other, one))
    tp = len(set(true[one & other].tolist()) - {0})
    fp = m - len(set(found[one & other].tolist()) - {0})
    assert kinds(count_lesions(one, other)) == (tp, fp, n - tp)


def test_empty_masks_follow_the_rule_of_overlap():
    empty, full = masks()[0], np.ones((12, 12, 12), bool)
    for pair, expected in (((empty, empty), 1), ((full, empty), 0), ((empty, full), 0)):
        counts = count_lesions(*pair)
        assert (counts.precision, counts.recall, counts.f1) == (expected,) * 3
    for nothing in (empty, empty[:0]):
        assert count_lesions(nothing, nothing) == Detections(tp=0, fp=0, fn=0)


def test_what_cannot_be_counted_is_refused():
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match="one shape"):
        count_lesions(mask, mask[:2])
    with pytest.raises(ValueError, match="overlap"):
        count_lesions(mask, mask, overlap=1.0)
