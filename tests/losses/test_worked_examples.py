"""Numbers of the literature that can be followed with a pencil."""

import math

import pytest
import torch

from segfocal.losses import (
    CrossEntropyLoss,
    FocalLoss,
    SigmoidProbabilityFocalLoss,
    SoftmaxCrossEntropyLoss,
    SoftmaxFocalLoss,
    SoftmaxProbabilityFocalLoss,
    WeightedSum,
)

EXACT = {"rel": 1e-9}  # float64; sums over 10,000 pixels


def logit(p):
    return math.log(p / (1 - p))


@pytest.mark.parametrize(
    ("p", "positive", "weight"), [(0.95, 1, 0.0025), (0.5, 1, 0.25), (0.9, 0, 0.81), (0.1, 0, 0.01)]
)
def test_gamma_two_weighs_pixels_as_in_the_paper(p, positive, weight):
    x, t = torch.tensor([[[[logit(p)]]]], dtype=torch.float64), torch.tensor([[[[positive]]]])
    focal, plain = (FocalLoss(gamma=g, alpha=None)(x, t).item() for g in (2.0, 0.0))
    assert focal / plain == pytest.approx(weight, **EXACT)
    assert FocalLoss(gamma=2.0, alpha=None).anatomy(x, t)["modulating"].item() == pytest.approx(weight, **EXACT)
    on_probability = SigmoidProbabilityFocalLoss(gamma=2.0, alpha=None)(torch.sigmoid(x), t).item()
    assert on_probability / plain == pytest.approx(weight, **EXACT)


HARD, EASY = 3.0, 0.1  # cross-entropy of one positive and of one negative, of which there are ten and 10,000


@pytest.fixture
def lesion():
    """Ten positives at loss 3, p = exp(−3), against 10,000 negatives at loss 0.1, 1 − p = exp(−0.1)."""
    x = torch.tensor([logit(math.exp(-HARD))] * 10 + [-logit(math.exp(-EASY))] * 10_000, dtype=torch.float64)
    return x.reshape(1, 1, 10, 1001), (torch.arange(10_010) < 10).reshape(1, 1, 10, 1001)


def sides(loss, x, t):
    """Return the loss of the positives and that of the negatives."""
    each = loss(x, t)
    return each[t].sum().item(), each[~t].sum().item()


def test_under_cross_entropy_ten_thousand_easy_negatives_drown_ten_missed_positives(lesion):
    for loss in (CrossEntropyLoss(reduction="none"), FocalLoss(gamma=0, alpha=None, reduction="none")):
        assert sides(loss, *lesion) == pytest.approx((30.0, 1000.0), **EXACT)  # 10·3 and 10,000·0.1


@pytest.mark.parametrize(
    ("alpha", "weights", "by_hand", "share"),
    [
        # 10·(1 − e⁻³)²·3 = 30·0.902906 and 10,000·(1 − e⁻⁰·¹)²·0.1 = 1000·0.0090559
        (None, (1, 1), (27.0871, 9.0559), 0.7494),
        (0.25, (0.25, 0.75), (6.7718, 6.7919), 0.4993),  # the usual α takes back what γ gave: even
        (0.75, (0.75, 0.25), (20.3154, 2.2640), 0.8997),
    ],
)
def test_gamma_two_lets_the_missed_positives_be_heard(lesion, alpha, weights, by_hand, share):
    positives = weights[0] * 10 * (1 - math.exp(-HARD)) ** 2 * HARD
    negatives = weights[1] * 10_000 * (1 - math.exp(-EASY)) ** 2 * EASY
    assert (positives, negatives) == pytest.approx(by_hand, abs=5e-5)  # the four decimals written
    assert sides(FocalLoss(2.0, alpha, reduction="none"), *lesion) == pytest.approx((positives, negatives), **EXACT)
    assert positives / (positives + negatives) == pytest.approx(share, abs=5e-5)
    assert FocalLoss(2.0, alpha).anatomy(*lesion)["positive_share"].item() == pytest.approx(share, abs=5e-5)


def test_the_positives_dominate_under_gamma_two_unless_alpha_speaks_for_the_negatives(lesion):
    for alpha, dominate in ((None, True), (0.75, True), (0.25, False)):
        positives, negatives = sides(FocalLoss(2.0, alpha, reduction="none"), *lesion)
        assert (positives > 2 * negatives) is dominate


def test_the_mean_divides_the_lesion_by_all_pixels_and_positives_by_ten(lesion):
    whole = 10 * (1 - math.exp(-HARD)) ** 2 * HARD + 10_000 * (1 - math.exp(-EASY)) ** 2 * EASY
    for reduction, divisor in (("sum", 1), ("mean", 10_010), ("positives", 10)):
        loss = FocalLoss(2.0, None, reduction)
        assert loss(*lesion).item() == pytest.approx(whole / divisor, **EXACT)
        in_one_pass = WeightedSum({"focal": loss}, {"focal": 1.0})(*lesion).total
        assert in_one_pass.item() == pytest.approx(whole / divisor, **EXACT)


def test_three_class_cross_entropy_of_the_textbook():
    p = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]], dtype=torch.float64)
    t = torch.tensor([2, 1, 0])
    by_hand = -(math.log(0.7) + math.log(0.4) + math.log(0.1)) / 3
    assert by_hand == pytest.approx(1.1919, abs=5e-5)  # four decimals are given
    for loss in (SoftmaxFocalLoss(gamma=0), SoftmaxCrossEntropyLoss()):
        assert loss(p.log(), t).item() == pytest.approx(by_hand, **EXACT)
    of_outputs = SoftmaxProbabilityFocalLoss(gamma=0)
    assert of_outputs(p, t).item() == pytest.approx(by_hand, **EXACT)
    assert of_outputs(p, torch.eye(3)[t]).item() == pytest.approx(by_hand, **EXACT)


def test_three_class_focal_loss_of_the_same_rows():
    p = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]], dtype=torch.float64)
    t = torch.tensor([2, 1, 0])
    by_hand = -(0.3**2 * math.log(0.7) + 0.6**2 * math.log(0.4) + 0.9**2 * math.log(0.1)) / 3
    assert SoftmaxFocalLoss(gamma=2)(p.log(), t).item() == pytest.approx(by_hand, **EXACT)
    weighted = -(0.3**2 * math.log(0.7) * 4 + 0.6**2 * math.log(0.4) * 2 + 0.9**2 * math.log(0.1)) / 3
    assert SoftmaxFocalLoss(gamma=2, alpha=[1, 2, 4])(p.log(), t).item() == pytest.approx(weighted, **EXACT)
