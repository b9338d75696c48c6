"""Paired differences, PR AUC from histograms, volume difference: against independent oracles."""

import numpy as np
import pytest
import torch
from scipy.stats import wilcoxon

from segfocal.metrics import Counts, RankHistogram, bootstrap_mean, compare_pairs, holm
from segfocal.metrics.paired import signed_rank_p


@pytest.mark.parametrize("n", [6, 9, 25, 50])
def test_p_is_scipy_s_exact_one_without_ties(n):
    differences = np.random.default_rng(n).normal(0.3, 1.0, n)
    assert signed_rank_p(differences) == pytest.approx(wilcoxon(differences, method="exact").pvalue, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_p_with_ties_is_the_share_of_all_signs_as_extreme(seed):
    differences = np.random.default_rng(seed).integers(-2, 4, 9).astype(float)
    sizes = np.abs(differences[differences != 0])
    order = np.array([(sizes < s).sum() + ((sizes == s).sum() + 1) / 2 for s in sizes])  # mean ranks
    signs = (np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes))) & 1
    sums, seen = signs @ order, order[differences[differences != 0] > 0].sum()
    expected = min(1, 2 * min((sums <= seen).mean(), (sums >= seen).mean()))
    assert signed_rank_p(differences) == pytest.approx(expected)


def test_many_pairs_have_scipy_s_p():
    differences = np.random.default_rng(0).normal(0.1, 1.0, 200)
    assert signed_rank_p(differences) == wilcoxon(differences).pvalue


def test_a_difference_has_its_interval_and_counts():
    rng = np.random.default_rng(0)
    first, second = rng.random(12), rng.random(12)
    second[:3] = first[:3]
    found = compare_pairs(first, second, larger_is_better=True, seed=0)
    assert found.mean == bootstrap_mean(first - second, seed=0)
    assert (found.pairs, found.equal, found.better) == (12, 3, int((first > second).sum()))
    turned = compare_pairs(first, second, larger_is_better=False, seed=0)
    assert (turned.better, turned.worse, turned.p) == (found.worse, found.better, found.p)


def test_too_few_pairs_that_differ_have_no_p():
    assert compare_pairs([1.0] * 9, [0.0] * 5 + [1.0] * 4, larger_is_better=True, seed=0).p is None
    assert compare_pairs([0.5], [0.4], larger_is_better=True, seed=0).p is None
    with pytest.raises(ValueError, match="finite pairs"):
        compare_pairs([1.0, np.nan], [0.0, 1.0], larger_is_better=True, seed=0)


def test_holm_s_correction_of_a_known_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, None, 0.6]) == [1.0, None, 1.0]


# Ranking


def average_precision(scores, inside):
    """Σ precision · step of recall over the distinct scores, from the largest down."""
    area, before = 0.0, 0
    for value in np.unique(scores)[::-1]:
        above = scores >= value
        true = int((above & inside).sum())
        area += true / above.sum() * (true - before)
        before = true
    return area / inside.sum()


@pytest.mark.parametrize("seed", range(3))
def test_pr_auc_of_a_histogram_is_average_precision(seed):
    rng = np.random.default_rng(seed)
    inside = rng.random((9, 8, 10)) < 0.1
    logits = rng.normal(size=inside.shape) + 1.5 * inside
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    ranks = RankHistogram()
    for z in (slice(0, 3), slice(3, 10)):  # slab by slab
        ranks.add_probabilities(*(torch.from_numpy(a[:, :, z].copy()) for a in (probabilities, inside)))
    assert ranks.average_precision == pytest.approx(average_precision(logits, inside), abs=5e-3)  # a bin is 0.01 wide
    pairs = (logits[inside][:, None] > logits[~inside][None]).mean()
    assert ranks.auc == pytest.approx(pairs, abs=2e-3)


def test_areas_of_certain_probabilities():
    ranks = RankHistogram()
    ranks.add_probabilities(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([False, False, True]))
    assert (ranks.auc, ranks.average_precision) == (1, 1)
    ranks = RankHistogram()
    ranks.add_probabilities(torch.full((10,), 0.5), torch.arange(10) < 3)
    assert (ranks.auc, ranks.average_precision) == pytest.approx((0.5, 0.3))  # chance is the share of voxels inside
    assert RankHistogram().average_precision == 0


# Volumes


def test_specificity_and_volume_difference():
    counts = Counts(tp=6, fp=1, fn=4, tn=19)
    assert counts.specificity == pytest.approx(19 / 20)
    assert counts.volume_difference_ml(0.5) == pytest.approx(-1.5)
    assert counts.relative_volume_difference == pytest.approx(-0.3)


def test_volume_differences_of_empty_masks():
    relative = [Counts(tp=0, fp=fp, fn=fn, tn=4).relative_volume_difference for fp, fn in ((0, 0), (5, 0), (0, 5))]
    assert relative == [0, 1, -1]
    assert Counts(tp=3, fp=0, fn=0, tn=0).specificity == 1
