"""Paired differences: exact p values against scipy and against all signs, Holm's correction."""

import numpy as np
import pytest
from scipy.stats import wilcoxon

from segfocal.metrics import bootstrap_mean, compare_pairs, holm
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
