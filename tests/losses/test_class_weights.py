"""Weights of sides and classes: from the training set, one for each channel, and where they live."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segfocal.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    SigmoidProbabilityFocalLoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    SoftmaxProbabilityFocalLoss,
    WeightedSum,
    inverse_frequency,
)
from tests.losses.pairs import CLOSE, classes, law, masks, rates, seeds, sigmoid_outputs

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


def test_class_weights_are_buffers_of_the_state_and_alpha_of_a_mask_is_an_option():
    assert "alpha" in SoftmaxFocalLoss(alpha=[1.0, 2.0]).state_dict()
    assert "weight" in SoftmaxCrossEntropyLoss(weight=[1.0, 2.0]).state_dict()
    assert SoftmaxFocalLoss().alpha is None
    assert not FocalLoss().state_dict()
    for loss in (SoftmaxFocalLoss(alpha=[1.0, 2.0]), FocalLoss(), FocalLoss(alpha=[0.1, 0.2])):
        assert loss.to("meta").alpha.is_meta  # a buffer follows the module to its device


@pytest.mark.parametrize("kind", [FocalLoss, CrossEntropyLoss, SigmoidProbabilityFocalLoss])
@given(seed=seeds, alphas=st.lists(rates, min_size=3, max_size=3))
@law
def test_an_alpha_for_each_channel_is_a_loss_for_each_channel(kind, seed, alphas):
    x, t = (sigmoid_outputs if kind is SigmoidProbabilityFocalLoss else masks)(2, 3, 4, 5, seed=seed)
    each = torch.stack([kind(alpha=alpha)(x[:, k : k + 1], t[:, k : k + 1]) for k, alpha in enumerate(alphas)])
    torch.testing.assert_close(kind(alpha=alphas)(x, t), each.mean(), **CLOSE)


@pytest.mark.parametrize("count", [1, 3])
def test_an_alpha_for_another_number_of_channels_is_refused(count):
    weights = [0.5] * count
    words = f"expected one (alpha|weight) for each of 2 classes; got {count}"
    x, t = masks(2, 2, 3, 4)
    for loss in (
        FocalLoss(alpha=weights),
        CrossEntropyLoss(alpha=weights),
        WeightedSum({"focal": FocalLoss(alpha=weights)}, {"focal": 1.0}),
        WeightedSum({"focal": FocalLoss(alpha=weights), "iou": CrossEntropyLoss()}, {"focal": 1.0, "iou": 1.0}),
    ):
        for target in (t, t.double()):
            with pytest.raises(ValueError, match=words):
                loss(x, target)
    with pytest.raises(ValueError, match=words):
        SigmoidProbabilityFocalLoss(alpha=weights)(torch.sigmoid(x), t)
    x, index = classes(2, 2, 3, 4)
    for loss in (SoftmaxFocalLoss(alpha=weights), SoftmaxCrossEntropyLoss(weight=weights)):
        with pytest.raises(ValueError, match=words):
            loss(x, index)
    with pytest.raises(ValueError, match=words):
        SoftmaxProbabilityFocalLoss(alpha=weights)(x.softmax(1), index)
