"""Binary focal loss: the numbers of the paper, SAM-Med2D's own, and its laws."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from segfocal.losses import CrossEntropyLoss, FocalLoss, SigmoidProbabilityFocalLoss, SoftmaxFocalLoss, WeightedSum
from tests.losses.four_pixels import by_hand, four_pixels, numbers
from tests.losses.pairs import CLOSE, gammas, law, masks, rates, seeds, soft_masks, spaces

# SAM-Med2D adds 1e-12 (focal) inside its logarithms, we add nothing: its own rounding, well inside the 1e-6 asked.
REFERENCE = {"rel": 1e-6, "abs": 1e-12}

LONG_SUM = {"rel": 1e-9}  # float64; sums over 10,000 pixels

EXACT = {"rel": 1e-12}  # float64, four pixels


def logit(p):
    return math.log(p / (1 - p))


@pytest.mark.parametrize(
    ("p", "positive", "weight"), [(0.95, 1, 0.0025), (0.5, 1, 0.25), (0.9, 0, 0.81), (0.1, 0, 0.01)]
)
def test_gamma_two_weighs_pixels_as_in_the_paper(p, positive, weight):
    x, t = torch.tensor([[[[logit(p)]]]], dtype=torch.float64), torch.tensor([[[[positive]]]])
    focal, plain = (FocalLoss(gamma=g, alpha=None)(x, t).item() for g in (2.0, 0.0))
    assert focal / plain == pytest.approx(weight, **LONG_SUM)
    assert FocalLoss(gamma=2.0, alpha=None).anatomy(x, t)["modulating"].item() == pytest.approx(weight, **LONG_SUM)
    on_probability = SigmoidProbabilityFocalLoss(gamma=2.0, alpha=None)(torch.sigmoid(x), t).item()
    assert on_probability / plain == pytest.approx(weight, **LONG_SUM)


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
        assert sides(loss, *lesion) == pytest.approx((30.0, 1000.0), **LONG_SUM)  # 10·3 and 10,000·0.1


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
    assert sides(FocalLoss(2.0, alpha, reduction="none"), *lesion) == pytest.approx((positives, negatives), **LONG_SUM)
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
        assert loss(*lesion).item() == pytest.approx(whole / divisor, **LONG_SUM)
        in_one_pass = WeightedSum({"focal": loss}, {"focal": 1.0})(*lesion).total
        assert in_one_pass.item() == pytest.approx(whole / divisor, **LONG_SUM)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32, torch.float64])
def test_focal_and_its_gradient_equal_sam_med2d(case, dtype):
    loss = FocalLoss(gamma=case["gamma"], alpha=case["alpha"])(case["x"], case["t"].to(dtype))
    (gradient,) = torch.autograd.grad(loss, case["x"])
    expected = torch.tensor(case["focal_grad"], dtype=torch.float64).reshape(gradient.shape)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(case["focal"], **REFERENCE)
    # Relative to the largest gradient: single entries are zero up to the reference's epsilon.
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())


@given(seed=seeds, space=spaces, alpha=st.floats(0, 0.99))
@law
def test_binary_focal_with_gamma_zero_is_torch_s_cross_entropy(seed, space, alpha):
    x, t = masks(2, 3, *space, seed=seed)
    plain = F.binary_cross_entropy_with_logits(x, t.double())
    # torch weighs positives against negatives: α/(1 − α) to 1, which is α to 1 − α but for a factor.
    pos_weight = torch.tensor(alpha / (1 - alpha), dtype=torch.float64)
    balanced = (1 - alpha) * F.binary_cross_entropy_with_logits(x, t.double(), pos_weight=pos_weight)
    for kind in (CrossEntropyLoss, lambda alpha: FocalLoss(0, alpha)):
        torch.testing.assert_close(kind(alpha=None)(x, t), plain, **CLOSE)
        torch.testing.assert_close(kind(alpha=alpha)(x, t), balanced, **CLOSE)


@given(seed=seeds, gamma=gammas, alpha=rates, space=spaces)
@law
def test_binary_focal_is_two_class_softmax_focal_of_zero_and_the_logit(seed, gamma, alpha, space):
    x, t = masks(2, 1, *space, seed=seed)
    two = SoftmaxFocalLoss(gamma, alpha=[1 - alpha, alpha])(torch.cat([torch.zeros_like(x), x], 1), t[:, 0].long())
    torch.testing.assert_close(FocalLoss(gamma, alpha)(x, t), two, **CLOSE)


@given(seed=seeds, gamma=gammas, alpha=rates)
@law
def test_focal_treats_both_sides_alike(seed, gamma, alpha):
    x, t = soft_masks(2, 2, 3, 4, seed=seed)
    torch.testing.assert_close(FocalLoss(gamma, alpha)(x, t), FocalLoss(gamma, 1 - alpha)(-x, 1 - t), **CLOSE)


@given(gamma=gammas, alpha=st.floats(0.02, 0.98), away=st.floats(0.01, 0.5))
@law
def test_the_best_answer_is_above_one_half_just_where_the_posterior_is_above_one_minus_alpha(gamma, alpha, away):
    answers = torch.linspace(-12, 12, 4801, dtype=torch.float64).view(1, 1, 1, -1)  # logits, 0 in the middle
    cost = {
        truth: FocalLoss(gamma, alpha, reduction="none")(answers, torch.full_like(answers, truth)) for truth in (0, 1)
    }
    for posterior in (max(1 - alpha - away, 0.0), min(1 - alpha + away, 1.0)):
        expected = posterior * cost[1] + (1 - posterior) * cost[0]
        best = answers.flatten()[expected.argmin()]
        assert (best > 0) == (posterior > 1 - alpha)


@given(seed=seeds, gamma=gammas, more=st.floats(0, 3))
@law
def test_focal_lies_between_nothing_and_cross_entropy_and_falls_as_gamma_grows(seed, gamma, more):
    x, t = masks(2, 2, 3, 4, seed=seed)
    of = {g: FocalLoss(g, alpha=None, reduction="none")(x, t) for g in (0, gamma, gamma + more)}
    assert (of[gamma + more] >= 0).all()
    assert (of[gamma + more] <= of[gamma] * (1 + 1e-12)).all()
    assert (of[gamma] <= of[0] * (1 + 1e-12)).all()


@given(seed=seeds, gamma=gammas, soft=rates)
@law
def test_a_soft_target_costs_the_mixture_of_both_hard_ones(seed, gamma, soft):
    x, _ = masks(2, 2, 3, 4, seed=seed)
    ones, zeros = torch.ones_like(x, dtype=torch.bool), torch.zeros_like(x, dtype=torch.bool)
    for loss in (FocalLoss(gamma), FocalLoss(gamma, [0.1, 0.8]), CrossEntropyLoss(0.25)):
        mixture = soft * loss(x, ones) + (1 - soft) * loss(x, zeros)
        torch.testing.assert_close(loss(x, torch.full_like(x, soft)), mixture, **CLOSE)


@given(seed=seeds)
@law
def test_reduction_positives_divides_by_the_positive_pixels_at_least_one(seed):
    loss, summed = FocalLoss(reduction="positives"), FocalLoss(reduction="sum")
    for x, t in (masks(2, 2, 3, 4, seed=seed), soft_masks(2, 2, 3, 4, seed=seed)):
        assert t.sum() > 1
        torch.testing.assert_close(loss(x, t) * t.sum(), summed(x, t), **CLOSE)
        torch.testing.assert_close(loss(x, t * 0), summed(x, t * 0), **CLOSE)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(("alpha", "weights"), [(None, (1, 1)), (0.25, (0.25, 0.75)), ([0.9], (0.9, 0.1))])
def test_focal_tells_its_modulating_factor_and_the_shares_of_hard_and_positive_pixels(gamma, alpha, weights):
    x, t = four_pixels()
    for target in (t, t.bool(), t.to(torch.uint8) * 255, t.double(), t.double() * 0.5):  # soft counts from 0.5 on
        found = FocalLoss(gamma, alpha).anatomy(x, target)
        assert numbers(found) == pytest.approx(by_hand(gamma, *weights), **EXACT)


def test_gamma_two_of_the_four_pixels_in_numbers():
    # 0.05², 0.75², 0.1² and 0.8² are 0.0025, 0.5625, 0.01 and 0.64; their mean is 0.30375.
    # Times −log p_t: 0.000128, 0.779791, 0.001054 and 1.030040.
    x, t = four_pixels()
    found = numbers(FocalLoss(2.0, alpha=None).anatomy(x, t))
    assert found["modulating"] == pytest.approx(0.30375, **EXACT)
    assert found["hard_share"] == pytest.approx(1.809831 / 1.811013, abs=2e-6)  # six decimals above
    assert found["positive_share"] == pytest.approx(0.779919 / 1.811013, abs=2e-6)


def test_without_any_loss_the_shares_are_zero():
    x = torch.tensor([[[1e4, -1e4]]])
    t = torch.tensor([[[1, 0]]])
    nothing = {"modulating": 0, "hard_share": 0, "positive_share": 0}
    assert numbers(FocalLoss().anatomy(x, t)) == nothing
    two = torch.cat([torch.zeros_like(x), x], 1)
    assert numbers(SoftmaxFocalLoss().anatomy(two, t[:, 0])) == nothing


def test_half_precision_logits_under_autocast_have_the_anatomy_of_float32():
    x, t = four_pixels()
    half = x.half()
    for loss, logits, target in (
        (FocalLoss(), half, t),
        (SoftmaxFocalLoss(), torch.cat([torch.zeros_like(half), half], 1), t[:, 0]),
    ):
        expected = loss.anatomy(logits.float(), target)
        with torch.autocast("cpu", torch.bfloat16):
            found = loss.anatomy(logits, target)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
