"""Matching of components: counts by brute force, one partner at most, and the order below an IoU of 0.5."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from segfocal.metrics import ComponentOverlaps, Detections, count_lesions, match_components


def overlaps_of(prediction, reference):
    return ComponentOverlaps.between(np.asarray(prediction), np.asarray(reference))


def numbered(mask):
    return ndimage.label(mask, np.ones((3,) * mask.ndim))


def by_hand(one, other):
    """Return the IoU of every pair of components that overlap, by their numbers in the reference and the prediction."""
    (found, m), (true, n) = numbered(one), numbered(other)
    ious = {}
    for i, j in itertools.product(range(1, n + 1), range(1, m + 1)):
        common = int(((true == i) & (found == j)).sum())
        if common:
            ious[i, j] = common / int(((true == i) | (found == j)).sum())
    return ious, n, m


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(13, 9, 7), (19, 16), (9, 1, 1)])
def test_overlaps_are_those_of_every_pair(seed, shape):
    one, other = np.random.default_rng(seed).random((2, *shape)) < (0.12 if min(shape) > 1 else 0.5)
    ious, n, m = by_hand(one, other)
    overlaps = overlaps_of(one, other)
    assert (len(overlaps.true.sizes), len(overlaps.predicted.sizes)) == (n, m)
    found = dict(zip(map(tuple, overlaps.pairs.tolist()), overlaps.iou.tolist(), strict=True))
    assert found == pytest.approx(ious)
    assert overlaps.detections() == count_lesions(one, other)
    assert overlaps.right.tolist() == [int(one[numbered(other)[0] == i].sum()) for i in range(1, n + 1)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.7])
def test_pairs_are_taken_by_descending_iou_and_one_to_one(seed, threshold):
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(2, 24, 20, 12)), (0, 1, 1, 1))
    one, other = (fields[0] > 0.12, 0.6 * fields[0] + 0.4 * fields[1] > 0.1)
    ious, n, m = by_hand(one, other)
    expected = {}
    for value, true, predicted in sorted(((v, *pair) for pair, v in ious.items()), key=lambda t: (-t[0], t[2], t[1])):
        if value > threshold and true not in expected and predicted not in expected.values():
            expected[true] = predicted
    matching = match_components(overlaps_of(one, other), threshold=threshold)
    assert {i + 1: int(j) for i, j in enumerate(matching.predicted_of) if j} == expected
    assert {int(i): j + 1 for j, i in enumerate(matching.true_of) if i} == expected
    assert [iou for iou in matching.iou if iou] == pytest.approx([ious[pair] for pair in sorted(expected.items())])
    assert matching.detections == Detections(tp=len(expected), fp=m - len(expected), fn=n - len(expected))


def test_an_iou_must_exceed_the_threshold():
    reference, prediction = np.zeros((2, 6, 4), bool)
    reference[1:3, 1], prediction[1:2, 1] = True, True  # one of two pixels: IoU 0.5
    overlaps = overlaps_of(prediction, reference)
    assert match_components(overlaps, threshold=0.5).detections.tp == 0
    assert match_components(overlaps, threshold=0.499).detections.tp == 1


def test_two_halves_of_a_lesion_are_one_match_and_one_false_positive_below_half():
    reference, prediction = np.zeros((2, 9, 3), bool)
    reference[1:8, 1] = True
    prediction[1:4, 1] = prediction[5:8, 1] = True  # IoU 3/7 each
    matching = match_components(overlaps_of(prediction, reference), threshold=0.3)
    assert (matching.detections, matching.true_of.tolist()) == (Detections(tp=1, fp=1, fn=0), [1, 0])
    assert match_components(overlaps_of(prediction, reference)).detections == Detections(tp=0, fp=2, fn=1)


def test_the_order_of_an_array_in_memory_changes_no_number():
    one, other = np.random.default_rng(3).random((2, 9, 8, 7)) < 0.08
    overlaps, turned = overlaps_of(one, other), overlaps_of(np.asfortranarray(one), np.asfortranarray(other))
    assert np.array_equal(overlaps.true.numbers, turned.true.numbers)
    assert overlaps.pairs.tolist() == turned.pairs.tolist()


def test_nothing_matches_nothing():
    for empty in (np.zeros((4, 4, 4), bool), np.zeros((0, 0, 0), bool)):
        overlaps = overlaps_of(empty, empty)
        assert overlaps.detections() == match_components(overlaps).detections == Detections(tp=0, fp=0, fn=0)
        assert overlaps.iou.tolist() == []


def test_what_cannot_be_matched_is_refused():
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match="one shape"):
        overlaps_of(mask, mask[:2])
    for threshold in (-0.1, 1.0):
        with pytest.raises(ValueError, match="threshold"):
            match_components(overlaps_of(mask, mask), threshold=threshold)
