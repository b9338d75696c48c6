"""Numbers that follow training: their values, what they reach, and that the loss uses them."""

import pytest
import torch

from segfocal.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    SigmoidProbabilityFocalLoss,
    SoftmaxFocalLoss,
    SoftmaxProbabilityFocalLoss,
    WeightedSum,
)
from segfocal.losses.fused import share_one_pass
from segfocal.losses.loss_schedules import read_schedule
from tests.losses.pairs import classes, masks, sigmoid_outputs, softmax_outputs

CLOSE = {"rtol": 1e-12, "atol": 1e-14}  # float64, the same operations


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ({"linear": {0: 0.0, 0.5: 2.0}}, {-1: 0, 0: 0, 0.125: 0.5, 0.25: 1, 0.5: 2, 0.75: 2, 1: 2, 3: 2}),
        ({"linear": {0.2: 1.0, 0.6: 3.0, 1: 0.0}}, {0: 1, 0.2: 1, 0.4: 2, 0.6: 3, 0.8: 1.5, 1: 0}),
        ({"linear": {0.5: 4.0}}, {0: 4, 0.5: 4, 1: 4}),
        ({"steps": {0: 0.0, 0.3: 1.0, 0.7: 5.0}}, {-1: 0, 0: 0, 0.29: 0, 0.3: 1, 0.5: 1, 0.69: 1, 0.7: 5, 1: 5, 2: 5}),
        ({"steps": {0.5: 4.0, 0.75: 1.0}}, {0: 4, 0.5: 4, 0.74: 4, 0.75: 1, 1: 1}),
        ({"steps": {"0": "0.5", "1.0": "2"}}, {0: 0.5, 0.99: 0.5, 1: 2}),  # YAML keys may be text
    ],
)
def test_a_schedule_has_its_knots_values_and_between_them_a_line_or_the_last_one(schedule, values):
    follow = read_schedule(schedule, "gamma")
    assert {place: follow(place) for place in values} == pytest.approx(values, rel=1e-12)


def test_a_plain_number_is_constant():
    loss = FocalLoss(gamma=3, alpha=0.5)
    assert loss.at(0.7) == {}
    assert (loss.gamma, loss.alpha.item()) == (3, 0.5)


UP = {"linear": {0: 0.5, 1: 2.5}}


@pytest.mark.parametrize(
    ("kind", "draw", "channels"),
    [
        (FocalLoss, masks, 2),
        (SigmoidProbabilityFocalLoss, sigmoid_outputs, 2),
        (SoftmaxFocalLoss, classes, 3),
        (SoftmaxProbabilityFocalLoss, softmax_outputs, 3),
    ],
)
def test_gamma_follows_training_in_every_focal_loss(kind, draw, channels):
    x, t = draw(2, channels, 3, 4)
    loss = kind(gamma=UP)
    for progress, gamma in ((None, 0.5), (0.25, 1.0), (1.0, 2.5), (0.0, 0.5)):
        if progress is not None:
            assert loss.at(progress) == {"gamma": gamma}
        torch.testing.assert_close(loss(x, t), kind(gamma=gamma)(x, t), **CLOSE)
        assert f"gamma={gamma}" in repr(loss)


@pytest.mark.parametrize(
    ("kind", "draw"), [(FocalLoss, masks), (CrossEntropyLoss, masks), (SigmoidProbabilityFocalLoss, sigmoid_outputs)]
)
def test_alpha_follows_training_in_every_loss_of_masks(kind, draw):
    x, t = draw(2, 2, 3, 4)
    loss = kind(alpha={"steps": {0: 0.5, 0.5: 0.125}})
    for progress, alpha in ((None, 0.5), (0.49, 0.5), (0.5, 0.125), (1.0, 0.125)):
        if progress is not None:
            assert loss.at(progress) == {"alpha": alpha}
        torch.testing.assert_close(loss(x, t), kind(alpha=alpha)(x, t), **CLOSE)


@pytest.mark.parametrize("soft", [False, True], ids=["one pass", "one by one"])
def test_a_sum_sets_its_weights_and_its_terms_numbers_by_name_and_uses_them(soft):
    x, t = masks(2, 2, 3, 4)
    t = t.double() if soft else t
    focal = FocalLoss(gamma={"linear": {0: 0.0, 0.5: 2.0}}, alpha={"steps": {0: 0.5, 0.5: 0.25}})
    criterion = WeightedSum({"focal": focal, "dice": DiceLoss()}, {"focal": 3.0, "dice": {"linear": {0: 1.0, 1: 0.0}}})
    assert set(criterion.followed) == {"weights.dice", "focal.gamma", "focal.alpha"}
    at_start = criterion(x, t).total
    for progress, dice, gamma, alpha in ((0.0, 1.0, 0.0, 0.5), (0.25, 0.75, 1.0, 0.5), (0.75, 0.25, 2.0, 0.25)):
        assert criterion.at(progress) == {"weights.dice": dice, "focal.gamma": gamma, "focal.alpha": alpha}
        report = criterion(x, t)
        assert share_one_pass(criterion.terms.values(), t) is not soft
        torch.testing.assert_close(report.terms["focal"], FocalLoss(gamma, alpha)(x, t), **CLOSE)
        torch.testing.assert_close(report.total, 3 * report.terms["focal"] + dice * report.terms["dice"], **CLOSE)
        if progress == 0:
            torch.testing.assert_close(at_start, report.total, **CLOSE)


def test_two_focal_terms_share_the_one_pass_only_while_their_gammas_agree():
    x, t = masks(2, 2, 3, 4)
    criterion = WeightedSum(
        {"moving": FocalLoss(gamma={"linear": {0: 0.0, 1: 2.0}}), "still": FocalLoss(gamma=2, alpha=None)},
        {"moving": 1.0, "still": 1.0},
    )
    for progress, gamma in ((0.0, 0.0), (0.5, 1.0), (1.0, 2.0)):
        criterion.at(progress)
        assert share_one_pass(criterion.terms.values(), t) is (gamma == 2)
        report = criterion(x, t)
        torch.testing.assert_close(report.terms["moving"], FocalLoss(gamma)(x, t), **CLOSE)
        torch.testing.assert_close(report.terms["still"], FocalLoss(2, None)(x, t), **CLOSE)


def test_a_sum_without_schedules_follows_nothing():
    criterion = WeightedSum({"focal": FocalLoss(), "dice": DiceLoss()}, {"focal": 1.0, "dice": 1.0})
    assert criterion.followed == []
    assert criterion.at(0.5) == {}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FocalLoss(gamma={"cosine": {0: 1.0}}), "expected gamma to be a number, {linear"),
        (lambda: FocalLoss(gamma={}), "expected gamma to be a number"),
        (lambda: FocalLoss(gamma={"linear": {0: 0.0}, "steps": {0: 1.0}}), "expected gamma to be a number"),
        (lambda: FocalLoss(gamma={"linear": {}}), "expected gamma to be a number"),
        (lambda: FocalLoss(gamma={"linear": [0.0, 2.0]}), "expected gamma to be a number"),
        (lambda: FocalLoss(gamma={"linear": {0: "much"}}), "expected numbers in the schedule of gamma"),
        (lambda: FocalLoss(gamma={"linear": {0: None}}), "expected numbers in the schedule of gamma"),
        (lambda: FocalLoss(gamma={"linear": {0.5: 0.0, 0.2: 1.0}}), "expected ascending shares of training"),
        (lambda: FocalLoss(gamma={"steps": {0: 0.0, 1000: 1.0}}), "expected ascending shares of training"),
        (lambda: FocalLoss(gamma={"steps": {-0.1: 0.0, 1: 1.0}}), "expected ascending shares of training"),
        (lambda: FocalLoss(gamma={"linear": {0: 0.0, 1: -1.0}}), "expected gamma ≥ 0; got -1"),
        (lambda: FocalLoss(alpha={"linear": {0: 0.0, 1: 1.5}}), r"expected alpha in \[0,1\]"),
        (lambda: SoftmaxFocalLoss(gamma={"linear": {0: 0.0, 1: -1.0}}), "expected gamma ≥ 0; got -1"),
        (lambda: SoftmaxFocalLoss(alpha={"linear": {0: 0.0, 1: 1.0}}), "alpha ≥ 0 for each class"),
        (lambda: WeightedSum({"d": DiceLoss()}, {"d": {"linear": {0: 1.0, 1: -1.0}}}), "loss weights ≥ 0; got -1"),
        (lambda: WeightedSum({"d": DiceLoss()}, {"d": {"rise": {0: 1.0}}}), "expected weights.d to be a number"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_a_value_error_that_says_what_to_do(make, words):
    with pytest.raises(ValueError, match=words):
        make()
