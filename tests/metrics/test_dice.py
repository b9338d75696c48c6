"""Counted voxels: Dice, IoU, precision, recall, specificity and volumes, and what they are for empty masks."""

import numpy as np
import pytest

from segfocal.metrics import Counts, count


def test_counts_and_metrics_of_a_known_overlap():
    prediction = np.array([[5, 5, 0, 0, 7]])
    reference = np.array([[5, 0, 5, 0, 5]])
    counts = count(prediction, reference, 5)
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (1, 1, 2, 1)
    assert counts.dice == pytest.approx(2 / 5)
    assert counts.iou == pytest.approx(1 / 4)
    assert counts.precision == pytest.approx(1 / 2)
    assert counts.recall == pytest.approx(1 / 3)


def test_two_empty_masks_agree_perfectly():
    counts = Counts(tp=0, fp=0, fn=0, tn=9)
    assert (counts.dice, counts.iou, counts.precision, counts.recall) == (1, 1, 1, 1)


@pytest.mark.parametrize("counts", [Counts(tp=0, fp=3, fn=0, tn=6), Counts(tp=0, fp=0, fn=3, tn=6)])
def test_one_empty_mask_is_a_complete_miss(counts):
    assert (counts.dice, counts.iou, counts.precision, counts.recall) == (0, 0, 0, 0)


def test_dice_and_iou_are_functions_of_each_other():
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = count(rng.random((4, 5, 3)) < 0.4, rng.random((4, 5, 3)) < 0.4, True)
        assert counts.iou == pytest.approx(counts.dice / (2 - counts.dice))


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        count(np.zeros((2, 3)), np.zeros((3, 2)), 1)


def test_specificity_and_volume_difference():
    counts = Counts(tp=6, fp=1, fn=4, tn=19)
    assert counts.specificity == pytest.approx(19 / 20)
    assert counts.volume_difference_ml(0.5) == pytest.approx(-1.5)
    assert counts.relative_volume_difference == pytest.approx(-0.3)


def test_volume_differences_of_empty_masks():
    relative = [Counts(tp=0, fp=fp, fn=fn, tn=4).relative_volume_difference for fp, fn in ((0, 0), (5, 0), (0, 5))]
    assert relative == [0, 1, -1]
    assert Counts(tp=3, fp=0, fn=0, tn=0).specificity == 1
