"""Panoptic quality: counted by hand, and what it is worth without a component or a match."""

import numpy as np
import pytest

from segfocal.metrics import ComponentOverlaps, match_components, panoptic_quality


def quality(prediction, reference, **options):
    return panoptic_quality(match_components(ComponentOverlaps.between(prediction, reference), **options))


def test_two_matches_a_miss_and_two_false_positives_by_hand():
    reference, prediction = np.zeros((2, 12, 9, 5), bool)
    reference[0:2, 0:2, 0:2] = prediction[0:2, 0:2, 0:2] = True  # 8 voxels each, the same: IoU 1
    reference[4:8, 0, 0], prediction[5:8, 0, 0] = True, True  # 3 of 4: IoU 3/4
    reference[0, 8, 4] = True
    prediction[4, 4, 4] = prediction[10, 6, 2] = True
    found = quality(prediction, reference)
    assert (found.sq, found.rq) == pytest.approx(((1 + 3 / 4) / 2, 2 / (2 + 0.5 * 2 + 0.5 * 1)))
    assert found.pq == pytest.approx((1 + 3 / 4) / (2 + 1.5))  # Σ IoU / (TP + FP/2 + FN/2)


def test_joining_and_splitting_cost_a_miss_and_a_false_positive():
    apart, joined = np.zeros((2, 9, 3), bool)
    apart[1:5, 1], apart[6:8, 1] = True, True  # 4 and 2 pixels
    joined[1:8, 1] = True  # all 7: IoU 4/7 with the first
    assert quality(joined, apart).rq == pytest.approx(1 / 1.5)
    assert quality(apart, joined).rq == pytest.approx(1 / 1.5)
    assert quality(joined, apart).sq == quality(apart, joined).sq == pytest.approx(4 / 7)


def test_a_lower_threshold_matches_what_a_higher_one_misses():
    reference, prediction = np.zeros((2, 6, 6), bool)
    reference[1:4, 1:4], prediction[2:5, 2:5] = True, True  # 4 common of 14
    assert quality(prediction, reference).pq == 0
    assert quality(prediction, reference, threshold=0.1).pq == pytest.approx(4 / 14)


def test_empty_masks_follow_the_rule_of_overlap():
    empty, full = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    for pair, expected in (((empty, empty), 1), ((full, empty), 0), ((empty, full), 0), ((full, full), 1)):
        found = quality(*pair)
        assert (found.sq, found.rq, found.pq) == (expected,) * 3
