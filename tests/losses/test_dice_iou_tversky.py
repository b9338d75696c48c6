"""Dice, IoU and Tversky losses: known counts, SAM-Med2D's numbers, laws, and the cost of an empty target."""

import pytest
import torch
from hypothesis import given
from torch.nn import functional as F

from segfocal.losses import DiceLoss, GeneralisedDiceLoss, IoULoss, TverskyLoss
from tests.losses.pairs import CLOSE, classes, law, losses_and_gradients, masks, seeds

# SAM-Med2D adds 1e-12 (focal) inside its logarithms, we add nothing: its own rounding, well inside the 1e-6 asked.
REFERENCE = {"rel": 1e-6, "abs": 1e-12}

FORMULAS = {
    DiceLoss: lambda pt, p, t: 1 - (2 * pt + 1) / (p + t + 1),
    IoULoss: lambda pt, p, t: 1 - (pt + 1) / (p + t - pt + 1),
    TverskyLoss: lambda pt, p, t: 1 - (pt + 1) / (pt + 0.3 * (p - pt) + 0.7 * (t - pt) + 1),
}
every_kind = pytest.mark.parametrize("kind", FORMULAS, ids=lambda kind: kind.__name__)


def pair(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * 3, torch.rand(shape, generator=generator) < 0.2


def test_dice_and_iou_of_known_counts():
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


def test_batch_dice_and_its_gradient_equal_sam_med2d(case):
    loss = DiceLoss(smooth=1.0, batch=True)(case["x"], case["t"].to(torch.uint8))
    (gradient,) = torch.autograd.grad(loss, case["x"])
    expected = torch.tensor(case["dice_batch_grad"], dtype=torch.float64).reshape(gradient.shape)
    assert loss.item() == pytest.approx(case["dice_batch"], **REFERENCE)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", [DiceLoss, IoULoss, TverskyLoss, GeneralisedDiceLoss])
def test_per_sample_it_is_the_mean_over_samples_and_over_the_batch_one_long_sample(kind):
    x, t = masks(3, 2, 4, 5)
    one, batch = kind(), kind(batch=True)
    each = torch.stack([one(x[i : i + 1], t[i : i + 1]) for i in range(3)]).mean()
    torch.testing.assert_close(one(x, t), each, **CLOSE)
    long = one(*[tensor.movedim(0, -1).flatten(1).unsqueeze(0) for tensor in (x, t)])
    torch.testing.assert_close(batch(x, t), long, **CLOSE)
    assert batch(x, t) != one(x, t)


@pytest.mark.parametrize("kind", [DiceLoss, IoULoss, TverskyLoss])
@given(seed=seeds)
@law
def test_under_softmax_it_is_that_of_each_structure_s_probability(kind, seed):
    x, index = classes(2, 4, 3, 5, seed=seed)
    p, t = x.softmax(1)[:, 1:], F.one_hot(index, 4).movedim(-1, 1)[:, 1:]
    expected = kind()(torch.logit(p), t)
    torch.testing.assert_close(kind(link="softmax")(x, index), expected, rtol=1e-10, atol=0)  # logit(p) rounds


# What an empty target costs


@every_kind
def test_smooth_is_the_formula_as_it_stands(kind):
    x, t = masks(1, 1, 3, 5)
    assert not t.any()
    p = torch.sigmoid(x)
    expected = FORMULAS[kind](0, p.sum(), 0)
    by_sum = {DiceLoss: 1, IoULoss: 1, TverskyLoss: 0.3}[kind] / (1 + {TverskyLoss: 0.3}.get(kind, 1) * p.sum()) ** 2
    for value, gradient in losses_and_gradients(kind(empty="smooth"), x, t):
        torch.testing.assert_close(value, expected, **CLOSE)
        torch.testing.assert_close(gradient, by_sum * p * (1 - p), **CLOSE)  # fades as the square of Σp


@every_kind
def test_an_empty_answer_to_an_empty_target_costs_nothing_and_false_pixels_are_pressed_down(kind):
    t = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    for empty in ("smooth", "include", "skip"):
        for value, _ in losses_and_gradients(kind(empty=empty), torch.full((1, 1, 3, 3), -50.0), t):
            assert value.item() == pytest.approx(0, abs=1e-6)  # one minus a quotient near one, in float32
    for empty in ("smooth", "include"):
        for _, gradient in losses_and_gradients(kind(empty=empty), torch.zeros(1, 1, 3, 3), t):
            assert (gradient > 0).all()


@pytest.mark.parametrize("batch", [False, True])
@every_kind
def test_include_costs_the_mean_of_p_and_presses_every_pixel_down_alike(kind, batch):
    x, t = masks(1, 1, 3, 5)
    p = torch.sigmoid(x)
    for value, gradient in losses_and_gradients(kind(empty="include", batch=batch), x, t):
        torch.testing.assert_close(value, p.mean(), **CLOSE)
        torch.testing.assert_close(gradient, p * (1 - p) / 15, **CLOSE)


@pytest.mark.parametrize("batch", [False, True])
@every_kind
def test_skip_costs_nothing_and_a_batch_of_empty_targets_is_zero_without_gradient(kind, batch):
    x, _ = masks(3, 2, 3, 5)
    for value, gradient in losses_and_gradients(kind(empty="skip", batch=batch), x, torch.zeros_like(x).bool()):
        assert value == 0
        assert (gradient == 0).all()


@every_kind
def test_per_sample_each_empty_mask_is_treated_on_its_own(kind):
    x, t = masks(2, 2, 3, 5)
    assert t.any((2, 3)).tolist() == [[True, False], [True, True]]
    p = torch.sigmoid(x)
    cost = FORMULAS[kind]((p * t).sum((2, 3)), p.sum((2, 3)), t.sum((2, 3)))
    expected = {
        "smooth": cost.mean(),
        "include": (cost[0, 0] + p[0, 1].mean() + cost[1].sum()) / 4,
        "skip": (cost[0, 0] + cost[1].sum()) / 3,
    }
    for empty, known in expected.items():
        for value, gradient in losses_and_gradients(kind(empty=empty), x, t):
            torch.testing.assert_close(value, known, **CLOSE)
            assert (gradient[t.any((2, 3))] != 0).all()
            if empty == "skip":
                assert (gradient[0, 1] == 0).all()
            if empty == "include":
                torch.testing.assert_close(gradient[0, 1], (p * (1 - p))[0, 1] / 15 / 4, **CLOSE)


@every_kind
def test_over_a_batch_only_a_class_without_a_pixel_anywhere_is_empty(kind):
    x, t = masks(2, 3, 3, 5)
    t[:, 1] = False  # nowhere; class 2 is missing from the first sample only
    assert t.any((2, 3)).tolist() == [[True, False, False], [True, False, True]]
    p = torch.sigmoid(x)
    cost = FORMULAS[kind]((p * t).sum((0, 2, 3)), p.sum((0, 2, 3)), t.sum((0, 2, 3)))
    expected = {
        "smooth": cost.mean(),
        "include": (cost[0] + p[:, 1].mean() + cost[2]) / 3,
        "skip": (cost[0] + cost[2]) / 2,
    }
    for empty, known in expected.items():
        for value, gradient in losses_and_gradients(kind(empty=empty, batch=True), x, t):
            torch.testing.assert_close(value, known, **CLOSE)
            assert (gradient[:, [0, 2]] != 0).all()
            assert (gradient[:, 1] == 0).all().item() is (empty == "skip")


@every_kind
def test_a_class_missing_under_softmax_is_treated_alike(kind):
    x, index = classes(1, 3, 3, 5, seed=1)
    assert index.unique().tolist() == [0, 1]
    p, t = x.softmax(1)[0], index[0] == 1
    cost = FORMULAS[kind]((p[1] * t).sum(), p[1].sum(), t.sum())
    missing = FORMULAS[kind](0, p[2].sum(), 0)
    expected = {"smooth": (cost + missing) / 2, "include": (cost + p[2].mean()) / 2, "skip": cost}
    for empty, known in expected.items():
        for batch in (False, True):
            value = kind(empty=empty, link="softmax", batch=batch)(x, index)
            torch.testing.assert_close(value, known, **CLOSE)


def test_a_mask_with_any_soft_truth_in_it_is_not_empty():
    x, _ = masks(1, 1, 3, 5)
    t = torch.zeros_like(x)
    t[..., 0] = 1e-3
    assert DiceLoss(empty="skip")(x, t) > 0.5
