"""What each loss promises, on values a reader can check by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from segfocal.losses import CrossEntropyLoss, DiceLoss, FocalLoss, IoUHeadLoss, IoULoss, TverskyLoss, WeightedSum


def logit(p):
    return math.log(p / (1 - p))


def pair(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * 3, torch.rand(shape, generator=generator) < 0.2


@pytest.mark.parametrize(
    ("p", "positive", "weight"), [(0.95, 1, 0.0025), (0.5, 1, 0.25), (0.9, 0, 0.81), (0.1, 0, 0.01)]
)
def test_gamma_two_weighs_pixels_as_in_the_paper(p, positive, weight):
    x, t = torch.tensor([[[[logit(p)]]]], dtype=torch.float64), torch.tensor([[[[positive]]]])
    focal, plain = (FocalLoss(gamma=g, alpha=None)(x, t).item() for g in (2.0, 0.0))
    assert focal / plain == pytest.approx(weight, rel=1e-9)


def test_gamma_zero_without_alpha_is_binary_cross_entropy():
    x, t = pair(3, 2, 5, 7)
    expected = F.binary_cross_entropy_with_logits(x, t.float())
    torch.testing.assert_close(FocalLoss(gamma=0, alpha=None)(x, t), expected)
    torch.testing.assert_close(CrossEntropyLoss()(x, t), expected)


def test_mean_is_over_all_pixels_and_positives_over_positive_ones():
    x, t = pair(2, 1, 9, 5)
    total = FocalLoss(reduction="sum")(x, t)
    torch.testing.assert_close(FocalLoss(reduction="none")(x, t).sum(), total)
    torch.testing.assert_close(FocalLoss()(x, t) * 90, total)
    torch.testing.assert_close(FocalLoss(reduction="positives")(x, t) * t.sum(), total)


def test_a_soft_target_costs_the_mixture_of_both_hard_ones():
    x, _ = pair(1, 1, 4, 4)
    ones, zeros = torch.ones_like(x, dtype=torch.bool), torch.zeros_like(x, dtype=torch.bool)
    soft = FocalLoss()(x, torch.full_like(x, 0.3))
    torch.testing.assert_close(soft, 0.3 * FocalLoss()(x, ones) + 0.7 * FocalLoss()(x, zeros))


@pytest.mark.parametrize(
    "loss", [FocalLoss(), DiceLoss(), IoULoss(), CrossEntropyLoss()], ids=lambda m: type(m).__name__
)
def test_every_target_type_gives_the_same_loss(loss):
    x, t = pair(2, 1, 6, 5)
    for dtype in (torch.uint8, torch.int64, torch.float32, torch.float64):
        torch.testing.assert_close(loss(x, t.to(dtype)), loss(x, t))
    torch.testing.assert_close(loss(x, t.to(torch.uint8) * 255), loss(x, t))  # masks of 0 and 255
    exact = loss(x.double(), t)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(loss(x.double(), t.double()), exact, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "loss", [DiceLoss(), IoULoss(), FocalLoss(), CrossEntropyLoss()], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_arithmetic_is_float32_for_half_logits(loss, dtype):
    x, t = pair(2, 1, 6, 5)
    half = x.to(dtype)
    result = loss(half, t)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, loss(half.float(), t))  # equal: only the input was rounded
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(half, t), result)


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 1.5, 2, 5])
@pytest.mark.parametrize("size", [0, 4, 8.5, 12, 17, 20, 30, 60, 100, 1e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("hard", [True, False])
def test_focal_and_its_gradient_are_finite_and_right_for_any_logit(gamma, size, dtype, hard):
    x = torch.tensor([size, -size, size, -size], dtype=dtype).reshape(4, 1, 1, 1).requires_grad_()
    t = torch.tensor([1, 1, 0, 0]).reshape(4, 1, 1, 1)
    losses = FocalLoss(gamma=gamma, reduction="none")(x, t.bool() if hard else t.float())
    (gradient,) = torch.autograd.grad(losses.sum(), x)
    s = x.detach().double() * (2 * t - 1)
    alpha_t = torch.where(t == 1, 0.25, 0.75)
    ce, not_p = torch.log1p(torch.exp(-s.abs())) + (-s).clamp(min=0), torch.sigmoid(-s)
    expected = alpha_t * not_p**gamma * ce
    slope = -(alpha_t * not_p**gamma * (gamma * (1 - not_p) * ce + not_p)) * (2 * t - 1)
    assert torch.isfinite(losses).all()
    assert torch.isfinite(gradient).all()
    # float32 arithmetic: an exponent γ·log(1−p) of size up to 5·1e4 is rounded to 2⁻²⁴ of itself; 1e-30 is underflow.
    torch.testing.assert_close(losses.double(), expected, rtol=2e-5, atol=1e-30)
    torch.testing.assert_close(
        gradient.double(), slope.to(dtype).double(), rtol=2 * torch.finfo(dtype).eps + 2e-5, atol=1e-7
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_pass_gradcheck_in_float64(gamma):
    x, t = pair(2, 1, 3, 4)
    x = x.double().requires_grad_()
    for loss in (FocalLoss(gamma=gamma), DiceLoss(), DiceLoss(batch=True), IoULoss(), TverskyLoss(exponent=0.75)):
        assert torch.autograd.gradcheck(lambda y, loss=loss: loss(y, t), x)
        assert torch.autograd.gradcheck(lambda y, loss=loss: loss(y, t.double() * 0.7), x)


def test_dice_and_iou_of_a_known_overlap():
    x = torch.tensor([[[[50.0, 50.0, -50.0, -50.0]]]])  # p = 1, 1, 0, 0
    t = torch.tensor([[[[1, 0, 1, 0]]]])
    assert DiceLoss(smooth=1)(x, t).item() == pytest.approx(1 - 3 / 5)
    assert IoULoss(smooth=1)(x, t).item() == pytest.approx(1 - 2 / 4)


@pytest.mark.parametrize("loss", [DiceLoss(), IoULoss()])
def test_an_empty_target_costs_nothing_when_found_empty_and_pushes_false_alarms_down(loss):
    t = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    assert loss(torch.full((1, 1, 3, 3), -50.0), t).item() == pytest.approx(0, abs=1e-6)
    x = torch.zeros(1, 1, 3, 3, requires_grad=True)
    loss(x, t).backward()
    assert (x.grad > 0).all()


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


def test_per_sample_dice_is_the_mean_over_samples_and_batch_dice_is_not():
    x, t = pair(3, 1, 8, 8)
    each = torch.stack([DiceLoss()(x[i : i + 1], t[i : i + 1]) for i in range(3)]).mean()
    torch.testing.assert_close(DiceLoss()(x, t), each)
    assert DiceLoss(batch=True)(x, t) != DiceLoss()(x, t)


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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FocalLoss(gamma=-1), "gamma ≥ 0"),
        (lambda: FocalLoss(gamma=float("nan")), "gamma ≥ 0"),
        (lambda: FocalLoss(alpha=1.5), "alpha in"),
        (lambda: FocalLoss(reduction="median"), "reduction"),
        (lambda: DiceLoss(smooth=0), "smooth > 0"),
        (lambda: TverskyLoss(alpha=-1), "alpha and beta"),
        (lambda: TverskyLoss(exponent=2), "exponent in"),
        (lambda: WeightedSum({"dice": DiceLoss()}, {"focal": 1.0}), "one weight for each"),
        (lambda: WeightedSum({}, {}), "one weight for each"),
        (lambda: WeightedSum({"dice": DiceLoss()}, {"dice": -1.0}), "weights ≥ 0"),
        (lambda: DiceLoss()(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4)), r"\[2, 4, 4\]"),
        (lambda: FocalLoss()(torch.zeros(1, 1, 2, 2).long(), torch.zeros(1, 1, 2, 2)), "floating-point"),
        (lambda: FocalLoss()(torch.zeros(0, 1, 2, 2), torch.zeros(0, 1, 2, 2)), "at least one pixel"),
        (
            lambda: WeightedSum({"i": IoUHeadLoss()}, {"i": 1.0})(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)),
            "promptable",
        ),
    ],
)
def test_misuse_is_a_value_error_that_says_what_to_do(make, words):
    with pytest.raises(ValueError, match=words):
        make()
