"""FROC: counted by hand, MONAI's curve, and the counts of lesions at every threshold of separate candidates."""

import numpy as np
import pytest
from monai.metrics.froc import compute_froc_curve_data

from segfocal.metrics import Candidates, count_lesions, froc_curve


def two_lesions():
    """Two lesions, of which one is hit twice, and two false positives."""
    probabilities, reference = np.zeros((2, 20, 6, 6), np.float32)
    reference[1:4, 1:4, 1:4] = reference[10:12, 1:3, 1:3] = 1
    probabilities[1, 1, 1], probabilities[3, 3, 3], probabilities[10, 1, 1] = 0.4, 0.8, 0.3
    probabilities[16, 1, 1], probabilities[18, 4, 4], probabilities[7, 5, 5] = 0.6, 0.2, 0.05
    return probabilities, reference


def test_a_lesion_has_the_confidence_of_its_surest_candidate():
    found = Candidates.of(*two_lesions())
    assert found.lesions == pytest.approx([0.8, 0.3])
    assert sorted(found.false) == pytest.approx([0.2, 0.6])  # 0.05 lies below the floor
    strict = Candidates.of(*two_lesions(), floor=0.5)
    assert strict.lesions == pytest.approx([0.8, 0])
    assert strict.false == pytest.approx([0.6])


def test_a_share_of_a_lesion_must_be_exceeded():
    probabilities, reference = two_lesions()
    half = Candidates.of(probabilities, reference, overlap=0.1)  # one of 27 voxels is less, one of 8 is more
    assert half.lesions == pytest.approx([0, 0.3])
    assert sorted(half.false) == pytest.approx([0.2, 0.6])  # those inside a lesion are not false


def test_the_curve_counted_by_hand():
    cases = [Candidates.of(*two_lesions()), Candidates(false=np.array([0.7]), lesions=np.array([0.0]))]
    cases += [Candidates(false=np.zeros(0), lesions=np.zeros(0))] * 2  # four cases, three lesions
    curve = froc_curve(cases)
    assert curve.thresholds == pytest.approx([0.8, 0.7, 0.6, 0.3, 0.2])
    assert curve.false_positives == pytest.approx([0, 0.25, 0.5, 0.5, 0.75])
    assert curve.recall == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert [curve.recall_at(rate) for rate in (0, 0.125, 0.49, 0.5, 8)] == pytest.approx([1 / 3] * 3 + [2 / 3] * 2)
    assert curve.score == pytest.approx((2 * 1 / 3 + 5 * 2 / 3) / 7)
    short = curve.steps()
    assert short.thresholds == pytest.approx([0.8, 0.3, 0.2])
    assert short.score == curve.score


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_is_monai_s_but_for_its_lowest_threshold(seed):
    rng = np.random.default_rng(seed)
    cases = [Candidates(false=rng.random(rng.integers(6)), lesions=rng.random(rng.integers(5))) for _ in range(9)]
    false, lesions = (np.concatenate([getattr(c, name) for c in cases]) for name in ("false", "lesions"))
    rates, recall = compute_froc_curve_data(false, lesions, len(lesions), len(cases))
    curve = froc_curve(cases)
    assert curve.false_positives[:-1] == pytest.approx(rates[-2::-1])
    assert curve.recall[:-1] == pytest.approx(recall[-2::-1])
    assert (curve.false_positives[-1], curve.recall[-1]) == pytest.approx((len(false) / 9, 1))


@pytest.mark.parametrize("seed", range(5))
def test_candidates_of_one_voxel_are_counted_as_lesions_are_at_every_threshold(seed):
    rng = np.random.default_rng(seed)
    spots = np.zeros((14, 12, 10))
    spots[::2, ::2, ::2] = rng.random((7, 6, 5)) * (rng.random((7, 6, 5)) < 0.3)
    reference = rng.random(spots.shape) < 0.03
    curve = froc_curve([Candidates.of(spots, reference, floor=1e-6)])
    for threshold, rate, recall in zip(curve.thresholds, curve.false_positives, curve.recall, strict=True):
        counts = count_lesions(spots >= threshold, reference)
        assert (counts.fp, counts.recall) == (rate, recall)


def test_no_candidate_finds_nothing():
    curve = froc_curve([Candidates.of(np.zeros((4, 4)), np.eye(4))])
    assert (curve.score, len(curve.thresholds), len(curve.steps().recall)) == (0, 0, 0)


def test_what_has_no_curve_is_refused():
    with pytest.raises(ValueError, match="a lesion in some case"):
        froc_curve([Candidates.of(np.ones((3, 3)), np.zeros((3, 3)))])
    for options in ({"floor": 0.0}, {"overlap": 1.0}):
        with pytest.raises(ValueError, match="floor"):
            Candidates.of(np.ones((3, 3)), np.zeros((3, 3)), **options)
    with pytest.raises(ValueError, match="one shape"):
        Candidates.of(np.ones((3, 3)), np.zeros((3, 4)))
