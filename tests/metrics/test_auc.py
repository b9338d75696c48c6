"""Areas under curves from histograms: those of all pairs and of every threshold, and of chance for empty classes."""

import numpy as np
import pytest
import torch

from segfocal.metrics import RankHistogram


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
