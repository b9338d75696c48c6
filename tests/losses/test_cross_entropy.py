"""Cross-entropy: the textbook's numbers, focal loss without focus, and torch's own."""

import math

import pytest
import torch
from torch.nn import functional as F

from segfocal.losses import (
    CrossEntropyLoss,
    FocalLoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    SoftmaxProbabilityFocalLoss,
)
from tests.losses.pairs import CLOSE, classes, masks, soft_classes, soft_masks

LONG_SUM = {"rel": 1e-9}  # float64; sums over 10,000 pixels


def test_three_class_cross_entropy_of_the_textbook():
    p = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]], dtype=torch.float64)
    t = torch.tensor([2, 1, 0])
    by_hand = -(math.log(0.7) + math.log(0.4) + math.log(0.1)) / 3
    assert by_hand == pytest.approx(1.1919, abs=5e-5)  # four decimals are given
    for loss in (SoftmaxFocalLoss(gamma=0), SoftmaxCrossEntropyLoss()):
        assert loss(p.log(), t).item() == pytest.approx(by_hand, **LONG_SUM)
    of_outputs = SoftmaxProbabilityFocalLoss(gamma=0)
    assert of_outputs(p, t).item() == pytest.approx(by_hand, **LONG_SUM)
    assert of_outputs(p, torch.eye(3)[t]).item() == pytest.approx(by_hand, **LONG_SUM)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("alpha", [None, 0.1, 0.9, [0.2, 0.7]])
def test_cross_entropy_is_focal_with_gamma_zero(alpha, reduction):
    for x, t in (masks(3, 2, 5, 4), soft_masks(3, 2, 5, 4)):
        expected = FocalLoss(0, alpha, reduction)(x, t)
        torch.testing.assert_close(CrossEntropyLoss(alpha, reduction)(x, t), expected, **CLOSE)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_softmax_cross_entropy_is_torch_s_weighted_ignoring_and_soft(reduction):
    x, t = classes(3, 4, 6, 5)
    weight = torch.tensor([0.2, 1.0, 3.0, 0.5], dtype=torch.float64)
    ours = SoftmaxCrossEntropyLoss(weight=weight.tolist(), ignore_index=2, reduction=reduction)
    torch.testing.assert_close(ours(x, t), F.cross_entropy(x, t, weight, ignore_index=2, reduction=reduction), **CLOSE)
    torch.testing.assert_close(ours(x, t.to(torch.uint8)), ours(x, t), **CLOSE)
    x, soft = soft_classes(3, 4, 6, 5)
    ours = SoftmaxCrossEntropyLoss(weight=weight.tolist(), reduction=reduction)
    torch.testing.assert_close(ours(x, soft), F.cross_entropy(x, soft, weight, reduction=reduction), **CLOSE)
    assert ours(x.half(), t).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("options", "index"),
    [
        ({"weight": [0.0, 1.0, 1.0]}, 0),
        ({"weight": [0.0, 0.0, 0.0]}, 2),
        ({"ignore_index": 2}, 2),
        ({"weight": [1.0, 2.0, 3.0], "ignore_index": 1}, 1),
    ],
)
def test_softmax_cross_entropy_of_nothing_that_counts_is_zero_without_a_gradient(options, index, dtype):
    logits = (torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 30).to(dtype).requires_grad_()
    loss = SoftmaxCrossEntropyLoss(**options)(logits, torch.full((2, 4, 5), index))
    assert loss.item() == 0
    assert (torch.autograd.grad(loss, logits)[0] == 0).all()


def test_softmax_cross_entropy_of_small_weights_is_torch_s():
    generator = torch.Generator().manual_seed(0)
    logits, index = torch.randn(2, 3, 4, 5, generator=generator), torch.randint(3, (2, 4, 5), generator=generator)
    weight = [1e-12, 1e-13, 0.0]
    expected = F.cross_entropy(logits, index, torch.tensor(weight))
    torch.testing.assert_close(SoftmaxCrossEntropyLoss(weight=weight)(logits, index), expected, rtol=1e-5, atol=0)
