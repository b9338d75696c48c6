"""The cross-entropy family, and focal losses on probabilities against those on logits."""

import pytest
import torch
from torch.nn import functional as F

from segfocal.losses import (
    CrossEntropyLoss,
    FocalLoss,
    SigmoidProbabilityFocalLoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    SoftmaxProbabilityFocalLoss,
)


def binary(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 2, 5, 4, generator=generator, dtype=torch.float64), torch.rand(3, 2, 5, 4) < 0.3


def classes(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 4, 6, 5, generator=generator, dtype=torch.float64), torch.randint(4, (2, 6, 5))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("alpha", [None, 0.1, 0.9])
def test_balanced_cross_entropy_is_focal_with_gamma_zero(alpha, reduction):
    x, t = binary()
    for target in (t, t.double(), t.double() * 0.6):
        expected = FocalLoss(gamma=0, alpha=alpha, reduction=reduction)(x, target)
        torch.testing.assert_close(CrossEntropyLoss(alpha, reduction)(x, target), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_weighted_softmax_cross_entropy_is_torch_s(reduction):
    x, t = classes()
    weight = torch.tensor([0.2, 1.0, 3.0, 0.5], dtype=torch.float64)
    ours = SoftmaxCrossEntropyLoss(weight=[0.2, 1.0, 3.0, 0.5], reduction=reduction)
    torch.testing.assert_close(ours(x, t), F.cross_entropy(x, t, weight, reduction=reduction))
    soft = x.softmax(1).flip(1)
    torch.testing.assert_close(ours(x, soft), F.cross_entropy(x, soft, weight, reduction=reduction))
    assert ours(x.half(), t).dtype == torch.float32


@pytest.mark.parametrize("guard", ["clip", "add"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_focal_of_a_sigmoid_is_focal_of_its_logit_away_from_saturation(guard, gamma, reduction):
    x, t = binary()
    ours = SigmoidProbabilityFocalLoss(gamma=gamma, epsilon=1e-9, guard=guard, reduction=reduction)(torch.sigmoid(x), t)
    # epsilon shifts log p by at most 1e-9 / p, and p is above 0.01 here
    torch.testing.assert_close(ours, FocalLoss(gamma=gamma, reduction=reduction)(x, t), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("guard", ["clip", "add"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_focal_of_a_softmax_is_focal_of_its_logits_away_from_saturation(guard, reduction):
    x, t = classes()
    one_hot = F.one_hot(t, 4).movedim(-1, 1)
    alpha = [0.5, 1.0, 2.0, 4.0]
    ours = SoftmaxProbabilityFocalLoss(alpha=alpha, epsilon=1e-9, guard=guard, reduction=reduction)
    expected = SoftmaxFocalLoss(alpha=alpha, reduction=reduction)(x, t)
    torch.testing.assert_close(ours(x.softmax(1), one_hot), expected, rtol=1e-5, atol=1e-9)  # as above


@pytest.mark.parametrize("guard", ["clip", "add"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_saturated_probabilities_give_a_finite_loss_and_gradient(guard, gamma, dtype):
    p = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=dtype).reshape(4, 1, 1).requires_grad_()
    t = torch.tensor([0, 0, 1, 1]).reshape(4, 1, 1)
    loss = SigmoidProbabilityFocalLoss(gamma=gamma, guard=guard)(p, t)
    (gradient,) = torch.autograd.grad(loss, p)
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CrossEntropyLoss(alpha=2), "alpha in"),
        (lambda: CrossEntropyLoss(reduction="positives"), "reduction"),
        (lambda: SoftmaxCrossEntropyLoss(weight=[-1.0, 1.0]), "weight ≥ 0"),
        (lambda: SigmoidProbabilityFocalLoss(epsilon=0), "epsilon in"),
        (lambda: SigmoidProbabilityFocalLoss(guard="hope"), "guard"),
        (
            lambda: SoftmaxProbabilityFocalLoss(alpha=[1.0])(torch.rand(1, 2, 3), torch.zeros(1, 2, 3)),
            "each of 2 classes",
        ),
    ],
)
def test_misuse_is_a_value_error_that_says_what_to_do(make, words):
    with pytest.raises(ValueError, match=words):
        make()
