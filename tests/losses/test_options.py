"""What the options of the losses do: the cost of an empty target, weights from the training set, where weights live."""

import pytest
import torch

from segfocal.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    GeneralisedDiceLoss,
    IoULoss,
    SigmoidProbabilityFocalLoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    SoftmaxProbabilityFocalLoss,
    TverskyLoss,
    WeightedSum,
    inverse_frequency,
)
from tests.losses.pairs import classes, masks

CLOSE = {"rtol": 1e-12, "atol": 1e-14}  # float64, a few operations
OVERLAPS = {
    DiceLoss: lambda pt, p, t: 1 - (2 * pt + 1) / (p + t + 1),
    IoULoss: lambda pt, p, t: 1 - (pt + 1) / (p + t - pt + 1),
    TverskyLoss: lambda pt, p, t: 1 - (pt + 1) / (pt + 0.3 * (p - pt) + 0.7 * (t - pt) + 1),
}
overlaps = pytest.mark.parametrize("kind", OVERLAPS, ids=lambda kind: kind.__name__)


def losses_and_gradients(term, x, t):
    """Yield value and gradient of a term called on its own, and, of a sigmoid term, in the one pass."""
    criterion = WeightedSum({"term": term}, {"term": 1.0})
    for loss in (term, lambda x, t: criterion(x, t).total)[: 2 if term.link == "sigmoid" else 1]:
        value = loss(y := x.clone().requires_grad_(), t)
        yield value.detach(), torch.autograd.grad(value, y)[0]


# What an empty target costs


@overlaps
def test_smooth_is_the_formula_as_it_stands(kind):
    x, t = masks(1, 1, 3, 5)
    assert not t.any()
    p = torch.sigmoid(x)
    expected = OVERLAPS[kind](0, p.sum(), 0)
    by_sum = {DiceLoss: 1, IoULoss: 1, TverskyLoss: 0.3}[kind] / (1 + {TverskyLoss: 0.3}.get(kind, 1) * p.sum()) ** 2
    for value, gradient in losses_and_gradients(kind(empty="smooth"), x, t):
        torch.testing.assert_close(value, expected, **CLOSE)
        torch.testing.assert_close(gradient, by_sum * p * (1 - p), **CLOSE)  # fades as the square of Σp


@overlaps
def test_an_empty_answer_to_an_empty_target_costs_nothing_and_false_pixels_are_pressed_down(kind):
    t = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    for empty in ("smooth", "include", "skip"):
        for value, _ in losses_and_gradients(kind(empty=empty), torch.full((1, 1, 3, 3), -50.0), t):
            assert value.item() == pytest.approx(0, abs=1e-6)  # one minus a quotient near one, in float32
    for empty in ("smooth", "include"):
        for _, gradient in losses_and_gradients(kind(empty=empty), torch.zeros(1, 1, 3, 3), t):
            assert (gradient > 0).all()


@pytest.mark.parametrize("batch", [False, True])
@overlaps
def test_include_costs_the_mean_of_p_and_presses_every_pixel_down_alike(kind, batch):
    x, t = masks(1, 1, 3, 5)
    p = torch.sigmoid(x)
    for value, gradient in losses_and_gradients(kind(empty="include", batch=batch), x, t):
        torch.testing.assert_close(value, p.mean(), **CLOSE)
        torch.testing.assert_close(gradient, p * (1 - p) / 15, **CLOSE)


@pytest.mark.parametrize("batch", [False, True])
@overlaps
def test_skip_costs_nothing_and_a_batch_of_empty_targets_is_zero_without_gradient(kind, batch):
    x, _ = masks(3, 2, 3, 5)
    for value, gradient in losses_and_gradients(kind(empty="skip", batch=batch), x, torch.zeros_like(x).bool()):
        assert value == 0
        assert (gradient == 0).all()


@overlaps
def test_per_sample_each_empty_mask_is_treated_on_its_own(kind):
    x, t = masks(2, 2, 3, 5)
    assert t.any((2, 3)).tolist() == [[True, False], [True, True]]
    p = torch.sigmoid(x)
    cost = OVERLAPS[kind]((p * t).sum((2, 3)), p.sum((2, 3)), t.sum((2, 3)))
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


@overlaps
def test_over_a_batch_only_a_class_without_a_pixel_anywhere_is_empty(kind):
    x, t = masks(2, 3, 3, 5)
    t[:, 1] = False  # nowhere; class 2 is missing from the first sample only
    assert t.any((2, 3)).tolist() == [[True, False, False], [True, False, True]]
    p = torch.sigmoid(x)
    cost = OVERLAPS[kind]((p * t).sum((0, 2, 3)), p.sum((0, 2, 3)), t.sum((0, 2, 3)))
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


@overlaps
def test_a_class_missing_under_softmax_is_treated_alike(kind):
    x, index = classes(1, 3, 3, 5, seed=1)
    assert index.unique().tolist() == [0, 1]
    p, t = x.softmax(1)[0], index[0] == 1
    cost = OVERLAPS[kind]((p[1] * t).sum(), p[1].sum(), t.sum())
    missing = OVERLAPS[kind](0, p[2].sum(), 0)
    expected = {"smooth": (cost + missing) / 2, "include": (cost + p[2].mean()) / 2, "skip": cost}
    for empty, known in expected.items():
        for batch in (False, True):
            value = kind(empty=empty, link="softmax", batch=batch)(x, index)
            torch.testing.assert_close(value, known, **CLOSE)


def test_generalised_dice_weighs_a_missing_class_as_the_rarest_or_not_at_all():
    # Over 4 pixels with p of 1/2, 1/4, 1/4 each: class 0 has 3 pixels, class 1 has one, class 2 none.
    x = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log().reshape(1, 3, 1).expand(1, 3, 4)
    index = torch.tensor([[0, 0, 0, 1]])
    above = 2 * (1.5 / 9 + 0.25) + 1  # weights 1/9 and 1: the rarest has one pixel
    below = (2 + 3) / 9 + (1 + 1) + 1
    for empty, weight in (("smooth", 1), ("skip", 0)):
        loss = GeneralisedDiceLoss(empty=empty, link="softmax")(x, index)
        assert loss.item() == pytest.approx(1 - above / (below + weight * 1), rel=1e-12)


def test_generalised_dice_of_an_empty_mask_judges_what_is_left_of_it():
    # p is 1/4 on each of 4 pixels: the complement has Σp·t = 3, Σp = 3 and Σt = 4.
    x, t = torch.tensor([1 / 3], dtype=torch.float64).log().expand(1, 1, 4), torch.zeros(1, 1, 4, dtype=torch.bool)
    for empty, weight in (("smooth", 1), ("skip", 0)):
        expected = 1 - (2 * 3 + 1) / (3 + 4 + weight * 1 + 1)  # and the mask itself Σp = 1
        for value, gradient in losses_and_gradients(GeneralisedDiceLoss(empty=empty), x, t):
            assert value.item() == pytest.approx(expected, rel=1e-12)
            assert (gradient > 0).all()


def test_a_mask_with_any_soft_truth_in_it_is_not_empty():
    x, _ = masks(1, 1, 3, 5)
    t = torch.zeros_like(x)
    t[..., 0] = 1e-3
    assert DiceLoss(empty="skip")(x, t) > 0.5


# Weights from the training set

RATES = [0.9, 0.08, 0.02]  # background and two structures


@pytest.mark.parametrize("kind", [FocalLoss, CrossEntropyLoss, SigmoidProbabilityFocalLoss])
def test_inverse_frequency_of_a_mask_is_one_minus_its_rate_for_the_positives(kind):
    x, t = masks(2, 2, 3, 5)
    x = torch.sigmoid(x)  # logits to two of them
    loss = kind(alpha="inverse_frequency")
    with pytest.raises(ValueError, match="call use_rates"):
        loss(x, t)
    assert "inverse_frequency" in repr(loss)
    loss.use_rates(RATES)
    torch.testing.assert_close(loss.alpha, torch.tensor([0.92, 0.98], dtype=torch.float64), **CLOSE)
    torch.testing.assert_close(loss(x, t), kind(alpha=[0.92, 0.98])(x, t), **CLOSE)
    assert "0.92" in repr(loss)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(SoftmaxFocalLoss, "alpha"), (SoftmaxCrossEntropyLoss, "weight"), (SoftmaxProbabilityFocalLoss, "alpha")],
)
def test_inverse_frequency_of_a_class_is_one_over_its_rate_with_mean_one(kind, name):
    x, index = classes(2, 3, 3, 5)
    x = x.softmax(1)  # logits to two of them
    loss = kind(**{name: "inverse_frequency"})
    with pytest.raises(ValueError, match="call use_rates"):
        loss(x, index)
    assert "inverse_frequency" in repr(loss)
    loss.use_rates(RATES)
    mean = (1 / 0.9 + 1 / 0.08 + 1 / 0.02) / 3
    weights = [1 / 0.9 / mean, 1 / 0.08 / mean, 1 / 0.02 / mean]
    torch.testing.assert_close(loss.class_weights, torch.tensor(weights, dtype=torch.float64), **CLOSE)
    torch.testing.assert_close(loss(x, index), kind(**{name: weights})(x, index), **CLOSE)
    assert name in loss.state_dict()


def test_rates_reach_every_term_of_a_sum_that_waits_for_them_once_and_no_other():
    x, t = masks(2, 2, 3, 5)
    terms = {
        "focal": FocalLoss(alpha="inverse_frequency"),
        "fixed": FocalLoss(alpha=0.25),
        "plain": CrossEntropyLoss(),
        "dice": DiceLoss(),
    }
    criterion = WeightedSum(terms, dict.fromkeys(terms, 1.0))
    with pytest.raises(ValueError, match="call use_rates"):
        criterion(x, t)
    with pytest.raises(ValueError, match="call use_rates"):  # in the one pass too
        WeightedSum({"focal": FocalLoss(alpha="inverse_frequency")}, {"focal": 1.0})(x, t)
    criterion.use_rates(RATES)
    criterion.use_rates([0.5, 0.25, 0.25])
    assert terms["focal"].alpha.tolist() == pytest.approx([0.92, 0.98])
    assert terms["fixed"].alpha.item() == 0.25
    assert terms["plain"].alpha is None
    torch.testing.assert_close(criterion(x, t).terms["focal"], FocalLoss(alpha=[0.92, 0.98])(x, t), **CLOSE)


def test_rates_of_another_number_of_structures_are_refused_when_logits_come():
    for kind, draw in ((FocalLoss, masks), (SoftmaxFocalLoss, classes)):
        loss = kind(alpha="inverse_frequency")
        loss.use_rates([0.5, 0.2, 0.2, 0.1])
        with pytest.raises(ValueError, match="expected one alpha for each of 2 classes; got"):
            loss(*draw(2, 2, 3, 5))


def test_inverse_frequency_weighs_rare_classes_up_with_mean_one():
    weights = inverse_frequency([900, 90, 10])
    assert sum(weights) / 3 == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx(90)
    assert inverse_frequency([0.9, 0.09, 0.01]) == pytest.approx(weights)  # rates do as well as counts


# Where weights live


def test_class_weights_are_buffers_of_the_state_and_alpha_of_a_mask_is_an_option():
    assert "alpha" in SoftmaxFocalLoss(alpha=[1.0, 2.0]).state_dict()
    assert "weight" in SoftmaxCrossEntropyLoss(weight=[1.0, 2.0]).state_dict()
    assert SoftmaxFocalLoss().alpha is None
    assert not FocalLoss().state_dict()
    for loss in (SoftmaxFocalLoss(alpha=[1.0, 2.0]), FocalLoss(), FocalLoss(alpha=[0.1, 0.2])):
        assert loss.to("meta").alpha.is_meta  # a buffer follows the module to its device
