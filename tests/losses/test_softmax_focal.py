"""Softmax focal loss: numbers by hand, and what it equals."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from segfocal.losses import SoftmaxFocalLoss
from tests.losses.four_pixels import by_hand, four_pixels, numbers
from tests.losses.pairs import CLOSE, classes, gammas, law, seeds, spaces

LONG_SUM = {"rel": 1e-9}  # float64; sums over 10,000 pixels

EXACT = {"rel": 1e-12}  # float64, four pixels


def test_three_class_focal_loss_of_the_same_rows():
    p = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]], dtype=torch.float64)
    t = torch.tensor([2, 1, 0])
    by_hand = -(0.3**2 * math.log(0.7) + 0.6**2 * math.log(0.4) + 0.9**2 * math.log(0.1)) / 3
    assert SoftmaxFocalLoss(gamma=2)(p.log(), t).item() == pytest.approx(by_hand, **LONG_SUM)
    weighted = -(0.3**2 * math.log(0.7) * 4 + 0.6**2 * math.log(0.4) * 2 + 0.9**2 * math.log(0.1)) / 3
    assert SoftmaxFocalLoss(gamma=2, alpha=[1, 2, 4])(p.log(), t).item() == pytest.approx(weighted, **LONG_SUM)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@given(seed=seeds, space=spaces)
@law
def test_softmax_focal_with_gamma_zero_is_torch_s_cross_entropy(reduction, seed, space):
    x, t = classes(2, 4, *space, seed=seed)
    expected = F.cross_entropy(x, t, reduction=reduction)
    torch.testing.assert_close(SoftmaxFocalLoss(0, reduction=reduction)(x, t), expected, **CLOSE)


@given(seed=seeds, weights=st.lists(st.floats(0.01, 10), min_size=4, max_size=4))
@law
def test_softmax_focal_with_gamma_zero_is_torch_s_weighted_cross_entropy_but_for_what_its_mean_divides_by(
    seed, weights
):
    x, t = classes(2, 4, 3, 5, seed=seed)
    weight = torch.tensor(weights, dtype=torch.float64)
    ours = {reduction: SoftmaxFocalLoss(0, weights, reduction=reduction)(x, t) for reduction in ("sum", "none", "mean")}
    for reduction in ("sum", "none"):
        torch.testing.assert_close(ours[reduction], F.cross_entropy(x, t, weight, reduction=reduction), **CLOSE)
    # Ours divides by the number of pixels, torch by the sum of their weights.
    torch.testing.assert_close(ours["mean"] * t.numel(), F.cross_entropy(x, t, weight) * weight[t].sum(), **CLOSE)


@given(seed=seeds, gamma=gammas, shift=st.floats(-50, 50))
@law
def test_a_shift_of_each_pixel_s_own_changes_no_softmax_focal_loss(seed, gamma, shift):
    x, t = classes(2, 4, 3, 5, seed=seed)
    loss = SoftmaxFocalLoss(gamma, alpha=[1.0, 2.0, 0.5, 3.0])
    shifts = shift * torch.rand(2, 1, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(loss(x + shifts, t), loss(x, t), rtol=1e-11, atol=1e-13)  # as above


def test_everything_ignored_is_zero_with_a_gradient_of_zero():
    x, t = classes(1, 3, 4)
    loss = SoftmaxFocalLoss(ignore_index=9)(x.requires_grad_(), torch.full_like(t, 9))
    loss.backward()
    assert loss == 0
    assert (x.grad == 0).all()


@pytest.mark.parametrize("gamma", [0, 2])
def test_an_ignored_pixel_may_hold_any_finite_logit(gamma):
    x, t = classes(1, 3, 5)
    t[0, 2] = 255
    loss = SoftmaxFocalLoss(gamma, ignore_index=255)
    expected = loss(x, t)
    x[:, :, 2] = torch.tensor([1e30, -1e30, 1e30])
    torch.testing.assert_close(loss(x, t), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("alpha", "weights"), [(None, (1, 1)), ([0.75, 0.25], (0.25, 0.75))])
def test_softmax_focal_tells_the_same_of_two_classes_and_leaves_ignored_pixels_out(alpha, weights):
    x, t = four_pixels()
    x = torch.cat([torch.cat([torch.zeros_like(x), x], 1), torch.full((1, 2, 2, 2), 3.0)], 2)
    index = torch.cat([t[:, 0], torch.full((1, 2, 2), 255)], 1)
    found = SoftmaxFocalLoss(2.0, alpha, ignore_index=255).anatomy(x, index)
    assert numbers(found) == pytest.approx(by_hand(2.0, *weights), **EXACT)
    everywhere = SoftmaxFocalLoss(2.0, alpha).anatomy(x[:, :, :2], index[:, :2])
    assert numbers(everywhere) == pytest.approx(by_hand(2.0, *weights), **EXACT)
