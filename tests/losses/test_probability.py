"""Focal losses on probabilities: those on logits away from saturation, and what epsilon makes of the rest."""

import math

import pytest
import torch
from torch.nn import functional as F

from segfocal.losses import FocalLoss, SigmoidProbabilityFocalLoss, SoftmaxFocalLoss, SoftmaxProbabilityFocalLoss
from tests.losses.pairs import classes, masks

EPSILON = 1e-6


@pytest.mark.parametrize("guard", ["clip", "add"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_focal_on_probabilities_is_focal_on_logits_away_from_saturation(guard, gamma, reduction):
    x, t = masks(3, 2, 5, 4)
    options = {"gamma": gamma, "epsilon": 1e-9, "guard": guard, "reduction": reduction}
    close = {"rtol": 1e-5, "atol": 1e-9}  # epsilon shifts log p by at most 1e-9 / p, and p is above 1e-3 here
    for alpha in (None, 0.25, [0.2, 0.9]):
        ours = SigmoidProbabilityFocalLoss(alpha=alpha, **options)(torch.sigmoid(x), t)
        torch.testing.assert_close(ours, FocalLoss(gamma, alpha, reduction)(x, t), **close)
    x, index = classes(2, 4, 6, 5)
    for alpha in (None, [0.5, 1.0, 2.0, 4.0]):
        ours = SoftmaxProbabilityFocalLoss(alpha=alpha, **options)
        expected = SoftmaxFocalLoss(gamma, alpha, reduction=reduction)(x, index)
        torch.testing.assert_close(ours(x.softmax(1), F.one_hot(index, 4).movedim(-1, 1)), expected, **close)
        torch.testing.assert_close(ours(x.softmax(1), index), expected, **close)


@pytest.mark.parametrize("guard", ["clip", "add"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_saturated_probabilities_give_a_finite_loss_and_gradient(guard, gamma, dtype):
    p = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=dtype).reshape(4, 1, 1).requires_grad_()
    t = torch.tensor([0, 0, 1, 1]).reshape(4, 1, 1)
    losses = SigmoidProbabilityFocalLoss(gamma=gamma, alpha=0.25, guard=guard, reduction="none")(p, t)
    (gradient,) = torch.autograd.grad(losses.sum(), p)
    assert losses.dtype == torch.float32
    assert torch.isfinite(losses).all()
    assert torch.isfinite(gradient).all()
    # Both sides wrong cost −log ε, weighed by 1 − α and α; 1 − 1e-6 is rounded to 6e-8, so log ε to 6 % at the most.
    assert losses.flatten().tolist() == pytest.approx(
        [0, -0.75 * math.log(EPSILON), -0.25 * math.log(EPSILON), 0], rel=0.005, abs=1e-5
    )
    slopes = [0, 0, 0, 0] if guard == "clip" else [0, 0.75 / EPSILON, -0.25 / EPSILON, 0]
    # Where right, the slope of (1 − p)^γ is left, of the order of one.
    assert gradient.flatten().tolist() == pytest.approx(slopes, rel=0.05, abs=1.5)


@pytest.mark.parametrize("guard", ["clip", "add"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_saturated_softmax_gives_a_finite_loss_and_gradient(guard, gamma, dtype):
    p = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=dtype).requires_grad_()
    losses = SoftmaxProbabilityFocalLoss(gamma=gamma, guard=guard, reduction="none")(p, torch.tensor([0, 1]))
    (gradient,) = torch.autograd.grad(losses.sum(), p)
    assert losses.tolist() == pytest.approx([0, -math.log(EPSILON)], rel=0.005, abs=1e-5)
    assert torch.isfinite(gradient).all()
    assert gradient[1].tolist() == pytest.approx([0, 0 if guard == "clip" else -1 / EPSILON, 0], rel=0.05, abs=1.5)


@pytest.mark.parametrize("epsilon", [1e-2, 1e-4])
def test_epsilon_bounds_the_loss_at_its_own_logarithm(epsilon):
    p, t = torch.zeros(1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1)
    clipped, added = (
        SigmoidProbabilityFocalLoss(gamma=2, alpha=None, epsilon=epsilon, guard=guard)(p, t).item()
        for guard in ("clip", "add")
    )
    assert clipped == pytest.approx(-((1 - epsilon) ** 2) * math.log(epsilon), rel=1e-12)
    assert added == pytest.approx(-math.log(epsilon), rel=1e-12)
