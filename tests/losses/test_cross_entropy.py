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
