"""How hard a sample is: its mean cross-entropy, by hand, under either link."""

import math

import pytest
import torch
from torch.nn import functional as F

from segfocal.losses import DiceLoss, LossReport, SoftmaxCrossEntropyLoss, WeightedSum
from segfocal.losses.cross_entropy import CrossEntropyLoss
from segfocal.losses.hardness import sample_cross_entropy
from tests.losses.pairs import masks


def test_the_hardness_of_a_sample_is_its_mean_cross_entropy():
    p = torch.tensor([[0.9, 0.6], [0.2, 0.5]], dtype=torch.float64)
    t = torch.tensor([[1, 1], [1, 0]])
    by_hand = [-(math.log(0.9) + math.log(0.6)) / 2, -(math.log(0.2) + math.log(0.5)) / 2]
    found = sample_cross_entropy(torch.logit(p).reshape(2, 1, 1, 2), t.reshape(2, 1, 1, 2), "sigmoid")
    assert found.tolist() == pytest.approx(by_hand, rel=1e-6)  # float32
    assert found.dtype == torch.float32


def test_under_softmax_it_is_that_of_the_class_of_each_pixel():
    p = torch.tensor([[[0.7, 0.2], [0.2, 0.3], [0.1, 0.5]], [[0.1, 0.1], [0.8, 0.1], [0.1, 0.8]]], dtype=torch.float64)
    index = torch.tensor([[0, 1], [1, 0]], dtype=torch.uint8)
    by_hand = [-(math.log(0.7) + math.log(0.3)) / 2, -(math.log(0.8) + math.log(0.1)) / 2]
    assert sample_cross_entropy(p.log(), index, "softmax").tolist() == pytest.approx(by_hand, rel=1e-6)  # float32


def test_half_precision_logits_under_autocast_are_judged_in_float32_without_a_gradient():
    x, t = masks(3, 2, 4, 5)
    half = x.half().requires_grad_()
    expected = F.binary_cross_entropy_with_logits(half.float(), t.float(), reduction="none").flatten(1).mean(1)
    with torch.autocast("cpu", torch.bfloat16):
        found = sample_cross_entropy(half, t, "sigmoid")
    torch.testing.assert_close(found, expected.detach())
    assert not found.requires_grad


def test_a_sum_reports_hardness_where_asked_whatever_its_terms():
    x, t = masks(3, 2, 4, 5)
    criterion = WeightedSum({"dice": DiceLoss(batch=True)}, {"dice": 1.0})
    assert criterion(x, t).hardness is None
    criterion.reports_hardness = True
    torch.testing.assert_close(criterion(x, t).hardness, sample_cross_entropy(x, t, "sigmoid"), rtol=0, atol=0)


def test_the_mean_of_reports_has_the_mean_hardness_only_where_all_have_one():
    def report(hardness):
        one = torch.tensor(1.0)
        return LossReport(total=one, terms={"dice": one}, hardness=None if hardness is None else torch.tensor(hardness))

    assert LossReport.mean([report([1.0, 2.0]), report([3.0, 0.0])]).hardness.tolist() == [2.0, 1.0]
    assert LossReport.mean([report([1.0, 2.0]), report(None)]).hardness is None


def test_a_sample_is_as_hard_as_its_cross_entropy():
    logits, target = torch.randn(3, 2, 5, 4), torch.randint(0, 2, (3, 2, 5, 4), dtype=torch.uint8)
    criterion = WeightedSum({"ce": CrossEntropyLoss()}, {"ce": 2.0})
    assert criterion(logits, target).hardness is None
    criterion.reports_hardness = True
    report = criterion(logits, target)
    torch.testing.assert_close(report.hardness.mean(), report.terms["ce"])
    one = criterion(logits[1:2], target[1:2]).terms["ce"]
    torch.testing.assert_close(report.hardness[1], one)


def test_under_softmax_a_sample_is_as_hard_as_its_cross_entropy_of_classes():
    logits, target = torch.randn(3, 2, 5, 4), torch.zeros(3, 2, 5, 4, dtype=torch.uint8)
    target[:, 1, :3] = 1
    criterion = WeightedSum({"ce": SoftmaxCrossEntropyLoss()}, {"ce": 1.0})
    criterion.reports_hardness = True
    report = criterion(logits, target)
    torch.testing.assert_close(report.hardness.mean(), report.terms["ce"])
