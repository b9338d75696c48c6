"""What each loss promises, on values a reader can check by hand."""

import pytest
import torch

from segfocal.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    GeneralisedDiceLoss,
    IoUHeadLoss,
    IoULoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    TverskyLoss,
    WeightedSum,
)
from tests.losses.pairs import classes


def pair(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * 3, torch.rand(shape, generator=generator) < 0.2


ON_MASKS = [FocalLoss(), CrossEntropyLoss(), DiceLoss(), IoULoss(), TverskyLoss(), GeneralisedDiceLoss()]
ON_CLASSES = [
    SoftmaxFocalLoss(),
    SoftmaxCrossEntropyLoss(),
    DiceLoss(link="softmax"),
    IoULoss(link="softmax"),
    TverskyLoss(link="softmax"),
    GeneralisedDiceLoss(link="softmax"),
]


@pytest.mark.parametrize("loss", ON_MASKS, ids=lambda m: type(m).__name__)
def test_every_target_type_gives_the_same_loss(loss):
    x, t = pair(2, 1, 6, 5)
    for dtype in (torch.uint8, torch.int64, torch.float32, torch.float64):
        torch.testing.assert_close(loss(x, t.to(dtype)), loss(x, t))
    torch.testing.assert_close(loss(x, t.to(torch.uint8) * 255), loss(x, t))  # masks of 0 and 255
    exact = loss(x.double(), t)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(loss(x.double(), t.double()), exact, rtol=1e-14, atol=0)


@pytest.mark.parametrize("loss", ON_CLASSES, ids=lambda m: type(m).__name__)
def test_every_type_of_class_index_gives_the_same_loss(loss):
    x, t = classes(2, 3, 6, 5)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        torch.testing.assert_close(loss(x, t.to(dtype)), loss(x, t), rtol=0, atol=0)


@pytest.mark.parametrize("loss", ON_MASKS + ON_CLASSES, ids=lambda m: f"{type(m).__name__}, {m.link}")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_arithmetic_is_float32_for_half_logits(loss, dtype):
    x, t = pair(2, 1, 6, 5) if loss.link == "sigmoid" else classes(2, 3, 6, 5)
    half = x.to(dtype)
    result = loss(half, t)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, loss(half.float(), t))  # equal: only the input was rounded
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(half, t), result)


def test_dice_and_iou_of_a_known_overlap():
    x = torch.tensor([[[[50.0, 50.0, -50.0, -50.0]]]])  # p = 1, 1, 0, 0
    t = torch.tensor([[[[1, 0, 1, 0]]]])
    assert DiceLoss(smooth=1)(x, t).item() == pytest.approx(1 - 3 / 5)
    assert IoULoss(smooth=1)(x, t).item() == pytest.approx(1 - 2 / 4)


def test_tversky_is_iou_and_dice_at_their_weights_and_leans_as_asked():
    x, t = pair(2, 2, 9, 7)
    torch.testing.assert_close(TverskyLoss(alpha=1, beta=1)(x, t), IoULoss()(x, t))
    torch.testing.assert_close(TverskyLoss(alpha=0.5, beta=0.5, smooth=0.5)(x, t), DiceLoss(smooth=1)(x, t))
    missed, alarm = torch.full((1, 1, 4, 4), -9.0), torch.full((1, 1, 4, 4), -9.0)
    t = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    t[..., 0] = True
    missed[..., 0, 0] = 9
    alarm[..., :2] = 9
    assert TverskyLoss(alpha=0.1, beta=0.9)(missed, t) > TverskyLoss(alpha=0.9, beta=0.1)(missed, t)
    assert TverskyLoss(alpha=0.1, beta=0.9)(alarm, t) < TverskyLoss(alpha=0.9, beta=0.1)(alarm, t)


def test_focal_tversky_is_the_power_and_has_a_finite_gradient_at_a_perfect_answer():
    x, t = pair(1, 1, 9, 7)
    torch.testing.assert_close(TverskyLoss(exponent=0.75)(x, t), TverskyLoss()(x, t) ** 0.75)
    perfect = torch.where(t, 60.0, -60.0).requires_grad_()
    TverskyLoss(exponent=0.75)(perfect, t).backward()
    assert torch.isfinite(perfect.grad).all()


def test_iou_head_is_judged_by_the_hard_iou_of_each_mask_without_touching_the_mask():
    x = torch.tensor([[[[9.0, 9.0, -9.0]]], [[[-9.0, -9.0, -9.0]]]], requires_grad=True)
    t = torch.tensor([[[[1, 0, 0]]], [[[0, 0, 0]]]])
    guess = torch.tensor([[0.5], [1.0]], requires_grad=True)  # exactly the IoUs: a half, and both empty
    loss = IoUHeadLoss()(x, t, guess)
    loss.backward()
    assert loss.item() == 0
    assert x.grad is None


def test_weighted_sum_reports_each_unweighted_term():
    x, t = pair(2, 1, 5, 5)
    report = WeightedSum({"focal": FocalLoss(), "dice": DiceLoss()}, {"focal": 20.0, "dice": 0.5})(x, t)
    assert set(report.terms) == {"focal", "dice"}
    torch.testing.assert_close(report.total, 20 * report.terms["focal"] + 0.5 * report.terms["dice"])
    assert not report.terms["dice"].requires_grad
