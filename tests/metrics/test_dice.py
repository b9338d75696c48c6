"""Figures of overlap, surface distance and ranking, their conventions for empty masks, and intervals of means."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage, stats

from segfocal.metrics import Counts, RankHistogram, bootstrap_mean, count, hausdorff95


def test_counts_and_figures_of_a_known_overlap():
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


def blobs(seed, shape=(13, 17, 6)):
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, 2, 2, 1))
    return [field > np.quantile(field, 0.85) for field in fields]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 1.3, 5.0)])
def test_hd95_is_monai_s(seed, spacing_mm):
    one, other = blobs(seed)
    theirs = compute_hausdorff_distance(
        *[torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (one, other)],
        include_background=True,
        percentile=95,
        spacing=list(spacing_mm),
    )
    assert hausdorff95(one, other, spacing_mm) == pytest.approx(theirs.item(), rel=1e-5)  # theirs is float32


def test_hd95_of_shifted_blocks_is_the_shift_in_millimetres():
    one, other = np.zeros((20, 20, 8), bool), np.zeros((20, 20, 8), bool)
    one[4:9, 4:9, 2:5], other[6:11, 4:9, 2:5] = True, True
    assert hausdorff95(one, other, (1.5, 1.0, 3.0)) == pytest.approx(3.0)
    assert hausdorff95(one, one, (1.5, 1.0, 3.0)) == 0


def test_hd95_of_empty_masks_is_zero_for_two_and_the_diagonal_for_one():
    empty, full = np.zeros((3, 4, 12), bool), np.ones((3, 4, 12), bool)
    assert hausdorff95(empty, empty, (1, 1, 1)) == 0
    assert hausdorff95(full, empty, (1, 1, 1)) == hausdorff95(empty, full, (1, 1, 1)) == pytest.approx(13)


def test_auc_of_a_histogram_is_the_share_of_pairs_in_order():
    generator = torch.Generator().manual_seed(0)
    inside = torch.rand(400, generator=generator) < 0.1
    logits = torch.randn(400, generator=generator) * 2 + 1.5 * inside
    ranks = RankHistogram()
    for start in (0, 150):  # in pieces, as slabs come
        stop = 150 if start == 0 else 400
        ranks.add(logits[start:stop], inside[start:stop])
    pairs = (logits[inside][:, None] > logits[~inside][None]).double().mean().item()
    assert ranks.auc == pytest.approx(pairs, abs=2e-3)  # a bin is 0.01 wide


def test_auc_is_one_for_a_perfect_order_and_a_half_without_one():
    ranks = RankHistogram()
    ranks.add(torch.tensor([-1e6, -3.0, 3.0, 1e6]), torch.tensor([False, False, True, True]))
    assert ranks.auc == 1
    assert RankHistogram().auc == 0.5
    ranks = RankHistogram()
    ranks.add(torch.zeros(10), torch.arange(10) < 3)
    assert ranks.auc == 0.5


# Bootstrap intervals


@pytest.mark.parametrize("values", [[0.7] * 5, [[0.7, 0.7], [0.7, np.nan], [0.7, 0.7]]])
def test_the_interval_of_equal_values_has_no_width(values):
    assert bootstrap_mean(values, seed=0) == pytest.approx((0.7, 0.7, 0.7))


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_a_mean_is_scipy_s(seed):
    values = np.random.default_rng(seed).beta(5, 2, size=40)
    mean, low, high = bootstrap_mean(values, seed=seed, resamples=20000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(seed + 100)
    ).confidence_interval
    assert mean == pytest.approx(values.mean())
    error = 0.02 * (high - low)  # percentiles of 20000 resamples: a standard error of 0.5 % of the width
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=error)
    assert low < mean < high


def test_columns_are_averaged_after_units_and_units_drawn_as_wholes():
    values = np.array([[0.2, 0.8], [0.8, 0.2], [0.5, 0.5]])  # what one column gains the other loses
    assert bootstrap_mean(values, seed=0) == pytest.approx((0.5, 0.5, 0.5))
    values = np.array([[0.1, np.nan], [0.3, 0.6], [np.nan, np.nan]])
    mean, low, high = bootstrap_mean(values, seed=0)
    assert mean == pytest.approx((0.2 + 0.6) / 2)
    assert (low, high) == pytest.approx((0.1, 0.45))  # the first unit twice has no second column


def test_an_interval_depends_on_its_seed_and_values_alone():
    values = np.random.default_rng(0).random(11)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(list(values), seed=3) != bootstrap_mean(values, seed=4)


def test_one_unit_has_a_mean_but_no_interval():
    mean, low, high = bootstrap_mean([0.4], seed=0)
    assert mean == 0.4
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize(
    ("values", "options"),
    [([], {}), ([[0.1, np.nan]], {}), ([0.1], {"level": 1.0}), ([0.1], {"resamples": 0})],
)
def test_what_has_no_interval_is_refused(values, options):
    with pytest.raises(ValueError, match="expected"):
        bootstrap_mean(values, seed=0, **options)
